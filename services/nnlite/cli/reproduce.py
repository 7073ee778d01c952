"""`nnlite reproduce`: measures a result again, and says whether it comes again."""

import shlex
import signal
import uuid
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from time import sleep
from typing import Annotated, Any

import typer
from sqlalchemy.exc import DBAPIError

from nnlite.campaigns import reproduce as reproduction
from nnlite.campaigns.control import cancel_benchmark
from nnlite.campaigns.reproduce import Comparison
from nnlite.cli.actions.own_workers import MEASURING, OwnWorkers
from nnlite.cli.actions.session import Session, interruptible, session
from nnlite.cli.presenting.output import count, err, print_json, print_table, say
from nnlite.errors import NnliteError
from nnlite.results.reading import Row, check_models
from nnlite.results.verification import Selection, UnknownRowError, is_id, selected
from nnlite.vocabulary import ENOUGH_PAIRS, HOST_POOL, Precision, WorkState

app = typer.Typer()

COLUMNS = ("backend", "threads", "result", "run", "device", "verdict", "median ms", "from ms", "to ms")
OPTIONAL = ("run", "threads", "backend", "device")
_INTERVAL_S = 1.0


@app.command("reproduce")
def reproduce(
    row: Annotated[
        str,
        typer.Argument(
            metavar="ROW|MODEL",
            help="Id of a benchmark or measurement (its first six digits or more; `nnlite verify --json` and "
            "`nnlite results --format json` list them), or the name of a model.",
        ),
    ],
    precision: Annotated[
        Precision, typer.Option(help="Of a model that is named: which artifact.")
    ] = Precision.FP32,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON array: a comparison for each backend.")
    ] = False,
) -> None:
    """Measure a result again, and say whether the new median lies within the interval of the old one.

    Any device of the same pool does it; without servers of your own, this machine does. The interval includes
    how much the device's runs vary, which is in part assumed below 19 pairs of them. The result that counts
    stays as it is. Exit code 0 if every backend's median lies within, else 1. Ctrl-C cancels the new
    measurement.

    Examples:

    - `nnlite reproduce 3f2a91c0`
    - `nnlite reproduce MobileNetV3 --precision int8`
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # either stops it gracefully
    with interruptible("stopped: the new measurement is cancelled"), session() as cluster:
        old = reproduction.results_to_reproduce(cluster.engine, _selection(cluster, row, precision))
        added = reproduction.start(cluster.engine, cluster.broker, old[0]["benchmark_id"])
        try:
            with _worker(cluster, old[0]["pool"]) as worker:
                ended = _wait(cluster, added, old[0]["pool"], worker)
        except BaseException:
            cancel_benchmark(cluster.engine, added)
            raise
        if ended["state"] != WorkState.DONE:
            raise NnliteError(f"the new measurement ended as {ended['state']}: {ended['reason']}")
        compared = reproduction.compare(cluster.engine, old, added)
    if json:
        print_json(asdict(each) | {"ratio": each.ratio, "inside": each.inside} for each in compared)
    else:
        _print(compared)
    if not all(each.inside for each in compared):
        raise typer.Exit(1)


def _selection(cluster: Session, row: str, precision: Precision) -> Selection:
    """Return what `row` names: a model, or an id.

    Raises:
        NnliteError: neither, or a campaign.
    """
    if (of_model := reproduction.result_of_model(cluster.engine, row, precision)) is not None:
        return of_model
    try:
        selection = selected(cluster.engine, row)
    except UnknownRowError:
        if not is_id(row):
            check_models(cluster.engine, row)
        raise
    if selection.campaign is not None:
        raise NnliteError(
            f"{row} is a campaign; name one of its rows: nnlite verify {shlex.quote(row)} --json"
        )
    return selection


def _worker(cluster: Session, pool: str) -> AbstractContextManager[OwnWorkers | None]:
    """Return this command's own worker where this machine is the pool, else None."""
    if pool != HOST_POOL or cluster.settings.database_url is not None:
        return nullcontext()
    return OwnWorkers(cluster, MEASURING)


def _wait(cluster: Session, added: uuid.UUID, pool: str, worker: OwnWorkers | None) -> Row:
    """Wait until the run has ended, and return it; `worker` is this command's own, if it has one."""
    said = ""
    row: Row | None
    with err.status("") as status:
        while True:
            try:
                row = reproduction.progress(cluster.engine, added)
                line = _line(cluster, row, pool, starting=worker is not None and worker.started)
            except DBAPIError:
                row, line = None, "Postgres is away; waiting for it"
            if row is not None and reproduction.has_ended(row):
                return row
            status.update(line)
            if line != said and not err.is_terminal:
                err.print(line, highlight=False)
                said = line
            if worker is not None:
                worker.check()
            sleep(_INTERVAL_S)


def _line(cluster: Session, row: Row, pool: str, *, starting: bool) -> str:
    if row["state"] == WorkState.RUNNING:
        return f"measured again by {row['worker']}: {row['backend'] or ''} {row['stage']}"
    again = f", after: {row['reason']}" if row["reason"] else ""
    if devices := reproduction.serving_devices(cluster.engine, pool):
        return f"waiting for a device of pool {pool}: {', '.join(devices)}{again}"
    if starting:
        return f"starting a worker for pool {pool} on this machine{again}"
    start = f"nnlite worker benchmark --pool {pool} --device ..."
    return f"no worker serves pool {pool}; waiting for one: {start}{again}"


def _print(compared: list[Comparison]) -> None:
    rows = [
        _row(name, result)
        for each in compared
        for name, result in (("old", each.old), ("new", each.new))
        if result is not None
    ]
    first = compared[0].old
    print_table(
        rows, COLUMNS, title=f"{first['model']}, {first['precision']}, {first['pool']}", optional=OPTIONAL
    )
    several = len({each.old["threads"] for each in compared}) > 1
    for each in compared:
        threads = f", threads {each.old['threads']}" if several else ""
        say(f"{each.old['backend']}{threads}: {_said(each)}")


def _row(name: str, result: Row) -> dict[str, Any]:
    return result | {
        "result": name,
        "median ms": _milliseconds(result["median_ns"]),
        "from ms": _milliseconds(result["interval_low_ns"]),
        "to ms": _milliseconds(result["interval_high_ns"]),
    }


def _milliseconds(nanoseconds: int | None) -> str | None:
    return None if nanoseconds is None else f"{nanoseconds / 1e6:.3f}"


def _said(compared: Comparison) -> str:
    old, new = compared.old, compared.new
    if new is None or compared.ratio is None:
        why = ", ".join(new["reasons"]) if new else "nothing"
        return f"not reproduced: the new measurement has no latency ({why})"
    if compared.inside is None:
        return (
            f"cannot be said: the old result has too few runs for an interval; new / old {compared.ratio:.3f}"
        )
    pairs = old["interval_pairs"]
    known = [count(pairs, "pair of runs", "pairs of runs")] if pairs else []
    known += ["an assumption"] if pairs < ENOUGH_PAIRS else []
    verb, where = ("reproduced", "within") if compared.inside else ("not reproduced", "outside of")
    cause = f"; the new one is {new['verdict']}: {new['noise_cause']}" if new["noise_cause"] else ""
    return (
        f"{verb}: the new median is {where} the old one's interval (variation between runs: "
        f"{' and '.join(known)}), new / old {compared.ratio:.3f}{cause}"
    )
