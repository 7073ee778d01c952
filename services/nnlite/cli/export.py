"""`nnlite export`: results as files for other programs."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nnlite.cli.output import err
from nnlite.cli.session import session
from nnlite.results.lemur_tree import Choice, Exported, export_lemur
from nnlite.vocabulary import DeviceKind

app = typer.Typer()
export = typer.Typer(help="Write results as files for other programs.", no_args_is_help=True)
app.add_typer(export, name="export")


@export.command()
def lemur(
    root: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", file_okay=False, help="The folder above `ab/`: a checkout of nn-dataset, or any."
        ),
    ],
    campaign: Annotated[
        list[str] | None, typer.Option(help="Only results of this campaign; repeatable.")
    ] = None,
    device: Annotated[list[str] | None, typer.Option(help="Only of this device; repeatable.")] = None,
    pool: Annotated[list[str] | None, typer.Option(help="Only of this pool; repeatable.")] = None,
    kind: Annotated[
        list[DeviceKind] | None,
        typer.Option(help="Only of this kind of device; repeatable [default: emulator and phone]."),
    ] = None,
) -> None:
    """Write nn-dataset's tree of mobile results, as its importer reads it.

    DIR/ab/nn/stat/run/tflite/PRECISION/TASK_DATASET_METRIC_MODEL/android_DEVICE.json: one JSON object per
    file, durations in nanoseconds, `unit` the processing unit that `duration` belongs to. nn-dataset imports
    the folders fp32 and int8. Of several results of one model, precision and device the newest valid one is
    written. What is not valid has its verdict as `error_message`, and no duration if it is invalid.

    all_models.json of each precision gets accuracy (fp32 only: that of training) and transform of models
    that it does not know yet. Other files are not touched, and none is removed.

    Measurements of hosts are no Android results: they are written (as linux_DEVICE.json) only for
    --kind host or --device NAME.

    Example: nnlite export lemur ~/nn-dataset --campaign night
    """
    choice = Choice(campaigns=campaign or (), devices=device or (), pools=pool or (), kinds=tuple(kind or ()))
    columns = (TextColumn("exporting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
    with session() as cluster, bar as progress:
        task = progress.add_task("", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        exported = export_lemur(cluster.engine, root, choice, show)
    err.print(summary(exported), highlight=False, soft_wrap=True)


def summary(exported: Exported) -> str:
    """Return one line: how many files were written, and what was left out and why."""
    parts = [f"{exported.written} results written to {exported.root}"]
    if exported.not_valid:
        parts.append(f"{exported.not_valid} of them not valid")
    for count, why in (
        (exported.superseded, "left out: a better or newer one of the same model and device was written"),
        (exported.hosts, "left out: measured on a host (--kind host)"),
        (exported.without_result, "benchmarks without a result (nnlite failures)"),
    ):
        if count:
            parts.append(f"{count} {why}")
    return "; ".join(parts)
