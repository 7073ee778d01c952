"""`nnlite export`: writes results as files for other programs."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nnlite.artifacts.store import open_store
from nnlite.cli.actions.session import session
from nnlite.cli.parsing import options
from nnlite.cli.parsing.words import chosen
from nnlite.cli.presenting.output import count, err, note
from nnlite.errors import NnliteError
from nnlite.exports.edge_export import EdgeChoice, export_edge_tracker
from nnlite.exports.lemur_tree import Choice, Exported, TreeLayout, export_lemur
from nnlite.exports.litert_board import MEASUREMENTS, export_litert_board
from nnlite.exports.model_explorer import export_node_data
from nnlite.exports.novelty import REFERENCE_THRESHOLD
from nnlite.results.reading import check_campaign, check_models
from nnlite.vocabulary import Backend, DeviceKind, Precision, Verdict

app = typer.Typer()
export = typer.Typer(help="Write results as files for other programs.", no_args_is_help=True)
app.add_typer(export, name="export")


class CpuBackend(StrEnum):
    """Backends that execute everything on the CPU."""

    CPU = Backend.CPU
    CPU_PLAIN = Backend.CPU_PLAIN


Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Latency of the CPU with this many threads [default: the fewest measured]."),
]
Campaigns = Annotated[list[str] | None, typer.Option(help="Only results of this campaign; repeatable.")]
Devices = Annotated[list[str] | None, typer.Option(help="Only of this device; repeatable.")]
Pools = Annotated[list[str] | None, typer.Option(help="Only of this pool; repeatable.")]


@export.command()
def lemur(
    root: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", file_okay=False, help="Parent folder of `ab/`, such as a checkout of nn-dataset."
        ),
    ],
    campaign: Campaigns = None,
    device: Devices = None,
    pool: Pools = None,
    kind: Annotated[
        list[DeviceKind] | None,
        typer.Option(help="Only of this kind of device; repeatable [default: emulator and phone]."),
    ] = None,
    threads: Threads = None,
    verdict: Annotated[
        list[str] | None,
        typer.Option(
            help="Only results with one of these verdicts: valid, noisy, throttled, invalid; with commas, or "
            "repeated [default: all]."
        ),
    ] = None,
    layout: Annotated[
        TreeLayout,
        typer.Option(help="Name files by device, or by the phone's model as upstream's own results are."),
    ] = TreeLayout.DEVICE,
    cpu: Annotated[
        CpuBackend,
        typer.Option(
            help="Backend of the CPU's fields: cpu-plain, without XNNPACK, compares with upstream's."
        ),
    ] = CpuBackend.CPU,
) -> None:
    """Write nn-dataset's tree of mobile results, in the format of its importer.

    DIR/ab/nn/stat/run/tflite/PRECISION/TASK_DATASET_METRIC_MODEL/android_DEVICE.json: one JSON object per
    file, durations in nanoseconds, `unit` the processing unit that `duration` belongs to. nn-dataset imports
    the folders fp32 and int8. Of several results of one model, precision and device the newest valid one is
    written. What is not valid has its verdict as `error_message`, and no duration if it is invalid.

    all_models.json of each precision gets accuracy (fp32 only: that of training) and transform of models
    that it does not know yet. Other files are not touched, and none is removed.

    Models of your own (--source files) are never written: they are none of LEMUR's.

    Measurements of hosts are no Android results: they are written (as linux_DEVICE.json) only for
    --kind host or --device NAME.

    Example: nnlite export lemur ~/nn-dataset --campaign night
    """
    choice = Choice(
        campaigns=campaign or (),
        devices=device or (),
        pools=pool or (),
        kinds=tuple(kind or ()),
        threads=threads,
        verdicts=chosen(Verdict, "--verdict", verdict),
        layout=layout,
        cpu=Backend(cpu),
    )
    columns = (TextColumn("exporting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
    with session() as cluster, bar as progress:
        task = progress.add_task("", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        exported = export_lemur(cluster.engine, root, choice, show)
    note(summary(exported))
    if len(exported.threads) > 1:
        numbers = " and ".join(map(str, sorted(exported.threads)))
        note(f"results with {numbers} threads of the CPU were written; --threads chooses one number")


@export.command()
def nngpt(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", file_okay=False, help="Folder to write to, such as out/edge.")
    ],
    campaign: Campaigns = None,
    pool: Annotated[
        str | None,
        typer.Option(help="Latency on this pool [default: phones, else emulators, else the host]."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Latency on this device of the pool.")] = None,
    backend: Annotated[Backend, typer.Option(help="Latency of this backend.")] = Backend.CPU,
    precision: Annotated[
        Precision | None,
        typer.Option(help="Latency of this precision [default: int8 where measured, else fp32]."),
    ] = None,
    threads: Threads = None,
    param_limit: options.ParamLimit = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            readable=True,
            help="Python file or folder of them: models that are no copies; repeatable.",
        ),
    ] = None,
    similarity_threshold: Annotated[
        float,
        typer.Option(min=0, max=1, help="From this similarity to a --reference on a model is a copy of it."),
    ] = REFERENCE_THRESHOLD,
) -> None:
    """Write NN-GPT's edge_tracker.json, with latencies of a device in place of its host's.

    latency_ms is the median of a model's valid measurements on one pool, backend, precision and number of
    threads, which latency_source names; efficiency is accuracy / latency_ms. Models with more than
    --param-limit parameters are not eligible, nor are copies of --reference files or of earlier models. A
    model without a measurement has the reason as its error.

    Example: nnlite export nngpt ~/nn-gpt/out/edge --pool phones --precision int8
    """
    choice = EdgeChoice(
        campaigns=campaign or (),
        pool=pool,
        device=device,
        backend=backend,
        precision=precision,
        threads=threads,
    )
    with session() as cluster:
        limit = param_limit or cluster.settings.catalog.efficiency_max_parameters
        store = open_store(cluster.settings)
        exported = export_edge_tracker(
            cluster.engine,
            folder,
            choice,
            param_limit=limit,
            store_url=store.url,
            references=read_references(reference or ()),
            similarity_threshold=similarity_threshold,
        )
    measured = (
        f"{exported.measured} of them measured on {exported.latency_source}"
        if exported.measured
        else "none of them with a latency: no valid measurement fits, and each has its reason as its error"
    )
    best = f"; the best is {exported.best_model}" if exported.best_model else ""
    note(f"{count(exported.models, 'model')} written to {exported.path}, {measured}{best}")


@export.command("model-explorer")
def model_explorer(
    folder: Annotated[Path, typer.Argument(metavar="DIR", file_okay=False, help="Folder to write to.")],
    campaign: Annotated[str | None, typer.Option(help="Only profiles of this campaign.")] = None,
    model: options.Like = None,
) -> None:
    """Write the times of profiled operators as node data of Model Explorer, one file for each profile.

    Open the artifact in Model Explorer and load the file as custom node data: each node shows its
    milliseconds and is coloured by them. Nodes that were fused into others have none.

    Example: nnlite run BagNet --profile --name layers && nnlite export model-explorer out --campaign layers
    """
    with session() as cluster:
        check_campaign(cluster.engine, campaign)
        if no_model := check_models(cluster.engine, model, campaign):
            raise NnliteError(no_model)
        exported = export_node_data(cluster.engine, folder, campaign, model)
    text = f"{count(len(exported.files), 'profile')} written to {folder}"
    if exported.unattributed:
        text += f"; up to {exported.unattributed:.1%} of the time belongs to no node with certainty"
    note(text)


@export.command("litert-board")
def litert_board(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", file_okay=False, help="The board's data folder, or a new one."),
    ],
    campaign: Campaigns = None,
    device: Devices = None,
    pool: Pools = None,
    kind: Annotated[
        list[DeviceKind] | None,
        typer.Option(help="Only of this kind of device; repeatable [default: phone]."),
    ] = None,
    threads: Threads = None,
    verdict: Annotated[
        list[str] | None,
        typer.Option(help="Only results with one of these verdicts [default: valid]."),
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option(help="What stands before / in names of models [default: the source, such as lemur]."),
    ] = None,
) -> None:
    """Write results in the format of LiteRT's public performance board.

    DIR/measurements.jsonl has one line for each model file, runtime version, device and accelerator; rows of
    others that are there stay, rows of equal `row_id` are replaced. DIR/board.json is made from all of them,
    and is what the board's page shows. Devices are named by their model, never by a serial number. What the
    board has no field for (verdict, interval, threads, parity) is in `nnlite` of each row.

    Example: nnlite export litert-board ~/litert-samples/benchmark/leaderboard/data --campaign night
    """
    choice = Choice(
        campaigns=campaign or (),
        devices=device or (),
        pools=pool or (),
        kinds=tuple(kind or ()),
        threads=threads,
        verdicts=chosen(Verdict, "--verdict", verdict),
    )
    with session() as cluster:
        exported = export_litert_board(cluster.engine, folder, choice, owner=owner)
    note(
        f"{count(exported.rows, 'row')} written to {exported.folder}; {exported.measurements} in "
        f"{MEASUREMENTS}, {exported.on_board} of them on the board"
    )


def read_references(paths: Iterable[Path]) -> dict[str, str]:
    """Return the code of Python files, and of those in folders, by their names."""
    files = (file for path in paths for file in (sorted(path.glob("*.py")) if path.is_dir() else [path]))
    return {file.stem: file.read_text(encoding="utf-8", errors="replace") for file in files}


def summary(exported: Exported) -> str:
    """Return one line: files written, and results skipped with the reason."""
    parts = [f"{count(exported.written, 'result')} written to {exported.root}"]
    if exported.not_valid:
        parts.append(f"{exported.not_valid} of them not valid")
    for number, why in (
        (exported.superseded, "skipped: a better or newer one of the same model and device was written"),
        (exported.hosts, "skipped: measured on a host (--kind host)"),
        (exported.own, "skipped: of models of your own, which are none of LEMUR's"),
        (exported.without_result, "without a result (nnlite failures)"),
    ):
        if number:
            parts.append(f"{number} {why}")
    return "; ".join(parts)
