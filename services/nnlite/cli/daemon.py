"""`nnlite up`, `down`, `ps` and `logs`: servers and workers of this machine that outlive a command."""

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from nnlite.cli.actions.session import interruptible, session
from nnlite.cli.parsing import options
from nnlite.cli.presenting.output import listed, note, out, print_json, print_table
from nnlite.cli.presenting.presentation import duration
from nnlite.errors import NnliteError
from nnlite.local import LocalError, absolute_home, daemon, local_instance
from nnlite.local.daemon import LocalProcess
from nnlite.settings import Settings, load_settings

app = typer.Typer()

_MB = 1e6
#: Between two looks at a log that is followed, seconds.
_POLL_S = 0.5


@app.command()
def up(
    converters: Annotated[int, typer.Option(min=1, help="Conversions at a time.")] = 2,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay in the foreground, for a supervisor, until SIGTERM.")
    ] = False,
) -> None:
    """Start servers and workers of this machine, which stay until `nnlite down`.

    Commands use them, so that a small `nnlite run` takes seconds: the workers have imported PyTorch already.

    Example: nnlite up && nnlite run --limit 5 --seed 1
    """
    settings = load_settings()
    if foreground:
        _serve(settings, converters)
        return
    instance = local_instance(settings)
    if (known := daemon.daemon_of(instance.home)) is not None:
        note(f"up already, as process {known.pid}; nnlite ps shows what runs, nnlite down stops it")
        return
    note(f"starting servers and workers in {instance.home}")
    argv = daemon.command("up", "--foreground", "--converters", str(converters))
    with interruptible("stopped; nothing stays up"):
        # Postgres, Valkey and migrations first.
        started = daemon.start(instance, argv, 3 * instance.limits.start_timeout_s)
    note(f"up, as process {started.pid}; workers import PyTorch meanwhile. nnlite ps, logs, down")


@app.command()
def down() -> None:
    """Stop what `nnlite up` started; running work goes back to the queue."""
    settings = load_settings()
    home = absolute_home(settings.home)
    stopped = home.is_dir() and daemon.stop(local_instance(settings))
    note("down" if stopped else f"nothing is up in {home}")


@app.command()
def ps(json: options.Json = False) -> None:
    """List the servers and workers of this machine's home that run.

    Workers of other hosts, and those that a supervisor of the system runs, are not here: see nnlite devices.
    """
    home = absolute_home(load_settings().home)
    running = list(daemon.running(home))
    memory = _memory({each.identity.pid for each in running})
    rows = [row for each in running if (row := _row(each, memory)) is not None]
    if json:
        print_json(rows)
    elif rows:
        shown = [
            row | {"memory": f"{row['memory'] / _MB:,.0f} MB", "since": _ago(row["since"])} for row in rows
        ]
        print_table(shown, ("name", "kind", "pid", "memory", "since"))
    else:
        note(f"nothing runs in {home}; nnlite up starts servers and workers")


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Of a log; none: list them.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Print so many of its last lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print more as they come.")] = False,
) -> None:
    """Print the log of a server or worker of this machine.

    Example: nnlite logs convert -f
    """
    folder = absolute_home(load_settings().home) / "logs"
    files = {file.stem: file for file in sorted(folder.glob("*.log"))}
    if name is None:
        rows = [
            {"name": stem, "size": f"{file.stat().st_size / 1e3:,.0f} kB", "last": _ago(file.stat().st_mtime)}
            for stem, file in files.items()
        ]
        print_table(listed(rows, None), ("name", "size", "last")) if rows else note(f"no log in {folder}")
        return
    if name not in files:
        raise NnliteError(f"no log {name!r} in {folder}; there are {', '.join(files) or 'none'}")
    try:
        for text in _lines(files[name], lines, follow=follow):
            out.print(text, highlight=False, soft_wrap=True)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _lines(file: Path, last: int, *, follow: bool) -> Iterator[str]:
    with file.open(errors="replace") as stream:
        everything = stream.read().splitlines()
        yield from everything[len(everything) - last :] if last else ()
        while follow:
            if text := stream.readline():
                yield text.rstrip("\n")
            else:
                time.sleep(_POLL_S)


def _serve(settings: Settings, converters: int) -> None:
    """Run servers and workers until SIGTERM or Ctrl-C."""
    from nnlite.cli.actions.own_workers import OwnWorkers, programs
    from nnlite.host.signals import on_stop
    from nnlite.host.tflite_environment import runtime_environment

    stopped = threading.Event()
    on_stop(stopped.set)
    checks = runtime_environment(settings) is not None
    with (
        session(creates=True) as cluster,
        OwnWorkers(cluster, programs(converters, checks=checks)) as workers,
    ):
        if not workers.started:
            raise LocalError(
                f"another command runs workers in {settings.home} (nnlite ps); wait for its end, or stop it"
            )
        with daemon.recorded(settings.home.expanduser().resolve()):
            stopped.wait()


def _row(process: LocalProcess, memory: Mapping[int, int]) -> dict[str, Any] | None:
    pid = process.identity.pid
    try:
        since = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:  # it ended meanwhile
        return None
    return {
        "name": process.name,
        "kind": process.kind,
        "pid": pid,
        "memory": memory.get(pid, 0),
        "since": since,
    }


def _memory(pids: Collection[int]) -> dict[int, int]:
    """Return the resident memory of processes and of those below them that are none of these, bytes."""
    seen = {each.pid: each.info for each in psutil.process_iter(["ppid", "memory_info"])}
    memory = dict.fromkeys(pids, 0)
    for pid, info in seen.items():
        above: int | None = pid
        while above and above not in memory:
            above = seen[above]["ppid"] if above in seen else None
        if above and info["memory_info"] is not None:
            memory[above] += info["memory_info"].rss
    return memory


def _ago(moment_s: float) -> str:
    return f"{duration(max(0.0, time.time() - moment_s))} ago"
