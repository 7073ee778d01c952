"""What commands find on another machine, for screens that are the same on every one."""

import os
import re
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nnlite.campaigns.reproduce import Comparison
from nnlite.diagnostics.finding import Finding
from nnlite.host.processes import ProcessIdentity
from nnlite.local.daemon import LocalProcess
from nnlite.local.home import Limits, LocalInstance
from nnlite.settings import Settings

#: What doctor finds.
FINDINGS = (
    Finding(subject="nnlite", state="ok", message="0.1.0, Python 3.11.2 in /opt/nnlite"),
    Finding(subject="torch", state="ok", message="2.13.0, for conversion workers"),
    Finding(
        subject="isolation",
        state="note",
        message="model code runs as root: only root may read /root, where nnlite's Python is; install it "
        "where every account may read: /usr/bin/python3 -m venv /opt/nnlite; without network",
    ),
    Finding(subject="hooks", state="missing", message="command: no program /usr/local/bin/notify"),
)


#: What `nnlite preflight` finds in a network.
PREFLIGHT = {
    "operators": 41,
    "problems": [
        {
            "line": "net.py:17, in forward", "operator": "aten.grid_sampler_3d", "called": "grid_sample",
            "count": 2, "cause": "no kernel in LiteRT", "remedy": "sample each slice with a 2-D grid",
        },
        {
            "line": "net.py:23, in forward", "operator": "aten.bernoulli.p", "called": None, "count": 1,
            "cause": "it is random: outputs cannot be compared", "remedy": None,
        },
    ],
}  # fmt: skip


#: Of which operators `nnlite atlas` knows how they are converted.
CASES = [
    {"operator": name, "variant": variant, "precision": precision, "state": state, "reason": reason}
    for name, variant, precision, state, reason in (
        ("aten.abs", None, "fp32", "ok", None),
        ("aten.abs", None, "int8", "ok", None),
        ("aten.conv2d", "dilation 2", "fp32", "ok", None),
        ("aten.conv2d", "dilation 2", "int8", "off", "11.2 dB where 20 are wanted"),
        (
            "aten.bilinear",
            None,
            "fp32",
            "refused",
            "operator aten._trilinear.default cannot be lowered to LiteRT",
        ),
    )
]


def _step(
    index: int, operator: str, module: str, artifact: str | None, sqnr_db: float | None
) -> dict[str, Any]:
    return {
        "index": index, "operator": operator, "module": module, "artifact_operator": artifact,
        "sqnr_db": sqnr_db, "own_sqnr_db": sqnr_db and sqnr_db + 6, "line": "net.py:9, in forward",
        "reason": "4.1 dB where 20 are wanted",
    }  # fmt: skip


#: What `nnlite explain-parity` finds in another one.
EXPLANATION = {
    "precision": "int8", "departs": 2, "note": None,
    "steps": [
        _step(0, "aten.conv2d.default", "features.0", None, None),
        _step(1, "aten.relu.default", "features.1", "CONV_2D", 38.2),
        _step(2, "aten.softmax.int", "attention.softmax", "SOFTMAX", 4.1),
        _step(3, "aten.linear.default", "head", "FULLY_CONNECTED", 3.9),
    ],
}  # fmt: skip

#: What `nnlite up` has started, with the memory that it takes.
_MEMORY = {
    LocalProcess(name=name, kind=kind, identity=ProcessIdentity(pid=pid, started="")): memory
    for name, kind, pid, memory in (
        ("postgres", "server", 4101, 96_000_000),
        ("valkey", "server", 4102, 14_000_000),
        ("convert", "worker", 4110, 1_210_000_000),
        ("benchmark-host", "worker", 4111, 240_000_000),
    )
}


def place(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Put the stand-ins in the places of what commands ask; a log of a worker is in the home.

    Returns what takes the addresses and folders of this test run out of a screen.
    """
    in_cli = {
        "devices.attached_devices": lambda port: None,
        "preflight.check_installed": lambda *_: None,
        "preflight.job_of": lambda *_: None,
        "preflight.answer_of": lambda *_: PREFLIGHT,
        "explain_parity.check_installed": lambda *_: None,
        "explain_parity.explain_parity": lambda *_, **__: EXPLANATION,
        "actions.download.fetch_lemur": _downloaded,
        "actions.download.time": SimpleNamespace(monotonic=iter((0.0, 20.0, 50.0)).__next__),
        "atlas.operators.cases": lambda: CASES,
        "reproduce.reproduction.start": lambda *_: uuid.UUID(int=1),
        "reproduce.reproduction.compare": lambda engine, old, _: [
            Comparison(old=row, new=row | {"run": 2, "median_ns": row["median_ns"] * 1.01}) for row in old
        ],
        "reproduce._wait": lambda *_: {"state": "done"},
        "daemon.local_instance": lambda settings: LocalInstance(
            home=Path("/home/anna/nnlite"), limits=Limits(**settings.local.model_dump())
        ),
        "daemon.daemon.daemon_of": lambda home: None,
        "daemon.daemon.start": lambda *_: ProcessIdentity(pid=4100, started=""),
        "daemon.daemon.stop": lambda instance: True,
        "daemon.daemon.running": _running,
        "daemon._row": _row,
        "daemon._ago": lambda moment_s: "3 h ago",
        "database.back_up": lambda *_: "wrote /nowhere/backups/nnlite-20261201T031500Z.dump; kept: 14",
    }
    monkeypatch.setattr("nnlite.diagnostics.machine.all_findings", lambda settings: iter(FINDINGS))
    for name, stand_in in in_cli.items():
        monkeypatch.setattr(f"nnlite.cli.{name}", stand_in)
    logs = Path(os.environ["NNLITE_HOME"], "logs")
    logs.mkdir(parents=True)
    (logs / "convert.log").write_text(
        "starting\n12:00:01 [info] ready concurrency=2\n12:03:44 [info] converted\n"
    )
    run = str(logs.parent.parent)

    def without_run(screen: str) -> str:
        address = re.sub(r"nnlite:\S+?@127\.0\.0\.1:\d+/\w+", "nnlite:***@127.0.0.1:5432/nnlite", screen)
        return address.replace(run, "/home/anna")

    return without_run


def _downloaded(settings: Settings, show: Callable[[int], None]) -> Path:
    show(103_000_000)
    return Path("/home/anna/.local/share/nnlite/sources/nn_dataset-2.1.2-py3-none-any.whl")


def _running(home: Path) -> list[LocalProcess]:
    """Return what runs: other commands than `nnlite ps` ask whether workers start, and none does."""
    return [*_MEMORY] if sys.argv[1] == "ps" and home.parts[1] != "nowhere" else []


def _row(process: LocalProcess, _listed: set[int]) -> dict[str, Any]:
    return {
        "name": process.name, "kind": process.kind, "pid": process.identity.pid, "memory": _MEMORY[process],
        "since": 0.0,
    }  # fmt: skip
