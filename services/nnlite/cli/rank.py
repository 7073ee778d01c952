"""`nnlite rank` and `nnlite serve`: models ranked by accuracy and latency, for people and for generators."""

import os
import secrets
import shlex
import threading
from pathlib import Path
from typing import Annotated

import typer

from nnlite.cli.actions.session import reading
from nnlite.cli.parsing import options
from nnlite.cli.parsing.words import chosen
from nnlite.cli.presenting.output import count, listed, note, paged, print_json, print_table
from nnlite.cli.presenting.presentation import milliseconds, telling
from nnlite.errors import NnliteError
from nnlite.results.ranking import RankOptions, ranking
from nnlite.results.reading import Row
from nnlite.settings import load_settings
from nnlite.vocabulary import Verdict

app = typer.Typer()
_COLUMNS = ("rank", "model", "front", "accuracy", "median ms", "contribution", "verdict", "reasons")
_OPTIONAL = ("reasons", "front")
#: File of the token, in the home.
TOKEN_FILE = "rank-token"  # noqa: S105


@app.command()
def rank(
    name: options.Campaign,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Campaign whose models may dominate those of NAME; not listed; repeatable."),
    ] = None,
    reference_ms: Annotated[
        float | None,
        typer.Option(
            min=0.000001, help="Latency at which the hypervolume ends [default: 1.1 times the slowest]."
        ),
    ] = None,
    verdict: Annotated[
        list[str] | None,
        typer.Option(help="Rank results with these verdicts; with commas, or repeated [default: valid]."),
    ] = None,
    top: options.Top = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """Rank a campaign's models by accuracy and latency, as far as there are results.

    Compared are results of one task, dataset, pool, precision, backend, number of threads and mode. Front 1
    is the Pareto front: no model is as accurate and faster. A model's contribution is the share of the area
    between accuracy 0 and the reference latency that it alone dominates. Accuracy is that of --evaluate where
    every artifact was evaluated on the same samples, else that of training.

    `nnlite serve` answers the same to programs.

    Example: nnlite rank generation-7 --against generation-6
    """
    chosen_options = RankOptions(
        against=tuple(against or ()),
        reference_ms=reference_ms,
        verdicts=chosen(Verdict, "--verdict", verdict) or (Verdict.VALID,),
    )
    with reading() as database:
        found = ranking(database, name, chosen_options)
    if json:
        print_json([found])
        return
    with paged(wide=wide):
        for group in found["groups"]:
            rows = [rank_row(row) for row in group["results"]]
            columns = telling(_COLUMNS, rows, "reasons")
            print_table(listed(rows, top), columns, title=title(group), optional=_OPTIONAL, wide=wide)
    if found["waiting"]:
        note(f"with work that waits or runs: {len(found['waiting'])} of {count(found['models'], 'model')}")
    if found["without_result"]:
        note(f"{len(found['without_result'])} without a result: nnlite failures {shlex.quote(name)}")
    if not found["groups"] and found["ended"]:
        note("no result to rank")


def title(group: Row) -> str:
    """Return what a group's results have in common, and how large the hypervolume of its front is."""
    threads = f"{group['threads']} threads" if group["threads"] != 1 else "1 thread"
    trained = "/".join(filter(None, (group["task"], group["dataset"])))
    names = (trained, group["pool"], group["precision"], group["backend"], threads, group["mode"])
    what = " ".join(filter(None, names))
    if not group["reference_ms"]:
        return what
    return f"{what}: hypervolume {group['hypervolume']:.4f} below {group['reference_ms']:.3g} ms"


def rank_row(row: Row) -> Row:
    """Format one result for people."""
    share = row["hypervolume_contribution"]
    latency_ms = row["latency_ms"]
    return row | {
        "median ms": None if latency_ms is None else milliseconds(round(latency_ms * 1e6)),
        "accuracy": None if row["accuracy"] is None else f"{row['accuracy']:.3f}",
        "contribution": None if share is None else f"{share:.4f}",
        "reasons": ", ".join(filter(None, (*row["reasons"], row["noise_cause"], row["error"]))),
    }


@app.command()
def serve(
    address: Annotated[str, typer.Option(help="Address to bind to.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to bind to; 0: any free one.")] = 8765,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with only the token that requests bring [default: rank-token in NNLITE_HOME, "
            "which is made]."
        ),
    ] = None,
) -> None:
    """Rank models for generators over HTTP, until it is stopped.

    POST /v1/rank takes models as code and submits them; GET /v1/rank/CAMPAIGN returns latency, accuracy,
    Pareto front and hypervolume contribution as results arrive. Workers do the work: nnlite up, or those of
    the lab. Nothing is encrypted: bind to another address than 127.0.0.1 only inside a network of your own.

    Example: nnlite up && nnlite serve
    """
    import structlog

    from nnlite import logs
    from nnlite.cli.actions.session import session
    from nnlite.host.health_file import TOUCH_EVERY_S, health_file_of_process, touch_health_file
    from nnlite.host.signals import on_stop
    from nnlite.ranking.listener import listening
    from nnlite.ranking.service import RankService

    settings = load_settings()
    logs.configure(settings.log_level)
    stop = threading.Event()
    on_stop(stop.set)
    with health_file_of_process(settings.health_file), session(creates=True) as cluster:
        file = token_file or settings.home.expanduser() / TOKEN_FILE
        token = read_token(file, make=token_file is None)
        service = RankService(
            settings=cluster.settings, engine=cluster.engine, broker=cluster.broker, stopping=stop
        )
        with listening(service, token, address, port) as bound:
            structlog.get_logger().info("ready", url=f"http://{address}:{bound}", token_file=str(file))
            while not stop.wait(TOUCH_EVERY_S):
                touch_health_file(settings.health_file)


def _is_provided(file: Path) -> bool:
    """Return whether a container engine or systemd provides a file to this process, whatever its mode is."""
    folders = ("/run/secrets", os.environ.get("CREDENTIALS_DIRECTORY"))
    return any(folder and file.is_relative_to(folder) for folder in folders)


def read_token(file: Path, *, make: bool) -> str:
    """Return the token in a file.

    Args:
        make: write a random one, readable by this account alone, if there is no file.

    Raises:
        NnliteError: the file cannot be read or written, is empty, or others may read it.
    """
    from nnlite.host.files import write_atomically
    from nnlite.settings.passwords import password_in

    try:
        if make and not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, secrets.token_urlsafe(32) + "\n", private=True)
        if file.stat().st_mode & 0o077 and not _is_provided(file):
            raise NnliteError(f"--token-file {file}: others may read it; chmod 600 {file}")
        return password_in(file, f"--token-file {file}")
    except OSError as error:
        raise NnliteError(f"--token-file {file}: {error.strerror}; name a file of yours") from error
