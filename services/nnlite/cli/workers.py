"""Commands that run processes of the cluster: workers, reaper and Flower."""

import os
import sys
import threading
from pathlib import Path
from typing import Annotated, NoReturn

import structlog
import typer

from nnlite import logs
from nnlite.campaigns.device_argument import device_argument
from nnlite.errors import NnliteError, UsageError
from nnlite.host.health_file import health_file_of_process
from nnlite.host.installation import install_hint
from nnlite.host.signals import on_stop
from nnlite.host.tflite_environment import needed_environment
from nnlite.local import servers
from nnlite.settings import PREFIX, load_settings
from nnlite.settings.passwords import CREDENTIALS
from nnlite.vocabulary import HOST_POOL

log = structlog.get_logger()
app = typer.Typer()
worker = typer.Typer(help="Run a worker of the cluster until it is stopped.", no_args_is_help=True)
app.add_typer(worker, name="worker")


@worker.command()
def convert(
    concurrency: Annotated[int, typer.Option(min=1, help="Concurrent conversions.")] = 2,
    name: Annotated[str, typer.Option(help="Unique among the workers of this host.")] = "convert",
) -> None:
    """Convert models to .tflite; each in its own process, with limits on time and memory.

    SIGTERM and Ctrl-C stop it gracefully: its work goes back to the queue.
    """
    environment = conversion_environment(dict(os.environ))
    _become(
        "nnlite_conversion", ["--concurrency", str(concurrency), "--name", name], environment, extra="convert"
    )


@worker.command()
def benchmark(
    device: Annotated[
        str,
        typer.Option(
            metavar="avd:NAME|usb:SERIAL|tcp:HOST:PORT|host",
            help="The device that this worker owns: an emulator (created if no AVD has that name), "
            "a phone by its serial or its address, or this machine.",
        ),
    ] = "host",
    pool: Annotated[
        str | None,
        typer.Option(
            help="Its set of interchangeable devices, as named by campaigns; "
            f"required except for the host, whose default is {HOST_POOL}."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Unique among the workers of this host; default: by device.")
    ] = None,
) -> None:
    """Measure artifacts on one device.

    Start one worker per device, and a supervisor that always starts them again: a worker whose device does
    not recover exits after a pause and must be restarted. `nnlite devices` shows the state of each.

    SIGTERM and Ctrl-C stop it gracefully: its work goes back to the pool.

    Example: nnlite worker benchmark --device avd:pixel4-1 --pool pixel4-api30
    """
    named = device_argument(device, pool)
    arguments = ["--device", named.text, "--pool", named.pool, "--name", name or named.worker_name]
    extra = "host" if named.on_host else "benchmark"
    _become("nnlite_benchmark", arguments, dict(os.environ), extra=extra)


@worker.command()
def check(
    name: Annotated[str, typer.Option(help="Unique among the workers of this host.")] = "check",
) -> None:
    """Run artifacts with the phones' version of TensorFlow Lite; measurements do not depend on the result.

    NNLITE_RUNTIME_CHECK__LIBRARY names the folder of the app's own library for this host, which `make
    runtime-check` builds. NNLITE_RUNTIME_CHECK__RUNTIME=tensorflow takes TensorFlow of the same version, in
    the virtual environment of NNLITE_RUNTIME_CHECK__ENVIRONMENT (`make runtime-check-tensorflow`). `nnlite
    run` starts this worker too where one of them is set.

    SIGTERM and Ctrl-C stop it gracefully.
    """
    needed_environment(load_settings())
    _become("nnlite_benchmark.runtime_check", ["--name", name], dict(os.environ))


@app.command()
def reaper() -> None:
    """Expire leases, resend lost messages, serve metrics. Several may run; one is active."""
    from nnlite.cli.actions.session import session
    from nnlite.reaper.exporter import exporting
    from nnlite.reaper.reaper import Reaper

    settings = load_settings()
    logs.configure(settings.log_level)
    stop = threading.Event()
    on_stop(stop.set)
    with (
        health_file_of_process(settings.health_file),
        session(creates=True, waits_for_schema=True) as cluster,
    ):
        reaper = Reaper(cluster.engine, cluster.broker, cluster.settings)
        with exporting(cluster.settings, cluster.engine, cluster.broker, reaper):
            log.info("ready", interval_s=cluster.settings.queue.reaper_interval_s)
            reaper.run(stop)


@app.command()
def flower(
    password_file: Annotated[
        Path | None,
        typer.Option(help="File with only the password; Flower does not start without one."),
    ] = None,
    user: Annotated[str, typer.Option(help="User name.")] = "nnlite",
    address: Annotated[str, typer.Option(help="Address to bind to.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to bind to; 0: any free one.")] = 5555,
    state: Annotated[
        Path | None, typer.Option(help="File that keeps Flower's state across restarts; default: none.")
    ] = None,
) -> None:
    """Show workers, queues and tasks in a browser (Flower, read-only)."""
    if password_file is None:
        raise UsageError("Flower needs a password: write one into a file and name it with --password-file")
    from nnlite.worker.flower import serve

    settings = load_settings()
    logs.configure(settings.log_level)
    with health_file_of_process(settings.health_file), servers(settings) as endpoints:
        serve(
            endpoints.broker_url, settings, address=address, port=port, user=user,
            password_file=password_file, state_file=state,
        )  # fmt: skip


def conversion_environment(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment of a conversion worker: set up for Celery, free of credentials.

    Credentials go into a private file that NNLITE_SECRETS_FILE names; it lives as long as this process.
    """
    credentials = {
        f"{PREFIX}{name}": value for name in CREDENTIALS if (value := environment.get(f"{PREFIX}{name}"))
    }
    if credentials:
        if f"{PREFIX}SECRETS_FILE" in environment:
            raise NnliteError(f"set {' and '.join(credentials)} in {PREFIX}SECRETS_FILE alone, not in both")
        environment[f"{PREFIX}SECRETS_FILE"] = str(_private_file(credentials))
    # Hooks are the reaper's: their URL or command may be a credential too.
    hidden = (*credentials, f"{PREFIX}HOOKS__")
    kept = {name: value for name, value in environment.items() if not name.startswith(hidden)}
    return kept | {
        # Read by billiard and numerical libraries when they are imported.
        "REMAP_SIGTERM": "SIGQUIT",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def _private_file(credentials: dict[str, str]) -> Path:
    """Return a file in memory, readable by this process also after exec, that ends with it."""
    descriptor = os.memfd_create("nnlite-credentials", 0)
    os.fchmod(descriptor, 0o600)
    lines = (f"{name}='{_quoted(value)}'\n" for name, value in credentials.items())
    os.write(descriptor, "".join(lines).encode())
    return Path(f"/proc/self/fd/{descriptor}")


def _quoted(url: str) -> str:
    """Escape `url` for single quotes in a .env file, where ${...} would be replaced."""
    return url.replace("\\", "\\\\").replace("'", "\\'").replace("${", "$%7B")


def check_installed(module: str, extra: str | None) -> None:
    """Check that a worker's package and the main library of its extra are installed.

    Raises:
        NnliteError: one is missing.
    """
    from importlib.util import find_spec

    libraries = {"convert": "litert_torch", "host": "ai_edge_litert", "benchmark": "adbutils"}
    needed = libraries.get(extra or "", module)
    if find_spec(module) is None or find_spec(needed) is None:
        raise NnliteError(
            f"{needed} is not installed here; install the worker: {install_hint(extra or 'all')}"
        )


def _become(
    module: str, arguments: list[str], environment: dict[str, str], *, extra: str | None = None
) -> NoReturn:
    """Exec the worker, which services never import, so that its environment applies from the start.

    Raises:
        NnliteError: the worker is not installed.
    """
    load_settings()  # reports a wrong setting here, not in a log
    check_installed(module, extra)
    os.execve(sys.executable, [sys.executable, "-P", "-m", module, *arguments], environment)
