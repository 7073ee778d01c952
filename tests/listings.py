"""Listings of the command line, and what each of them imports, found in a fork for each."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from waiting import HANG_S

#: What only commands that work with the queue or convert need.
HEAVY = (
    "alembic", "celery", "fsspec", "kombu", "pydantic_settings", "redis", "sqlalchemy", "structlog", "torch",
)  # fmt: skip
#: Commands that read and print, as a user types them; `night` is a campaign.
LISTINGS = (
    "status", "status --json", "results", "results night", "failures", "devices", "devices incidents",
    "profile", "sustained", "effects", "rank night", "describe night", "describe night --toml",
    "atlas", "ps", "logs",
    "doctor --settings",
)  # fmt: skip
#: All others: they convert, measure, change, serve or read whole catalogs.
ACTIONS = {
    "run", "submit", "models", "fetch", "preflight", "watch", "export", "verify", "reproduce",
    "explain-parity", "pause", "resume", "cancel", "retry", "rename", "delete", "gc", "up", "down", "worker",
    "reaper", "flower", "serve", "db", "check",
}  # fmt: skip
_PROGRAM = Path(__file__).parent / "unit" / "cli" / "programs" / "imports_of_command.py"


@dataclass(frozen=True)
class Ran:
    """How a command ended, what it printed, which heavy modules it imported, and the home that it had."""

    code: int
    heavy: list[str]
    out: str
    home: Path


def ran(commands: Sequence[tuple[Path, list[str], Mapping[str, str]]]) -> list[Ran]:
    """Run commands.

    Args:
        commands: an empty home, arguments, and variables besides those that are no settings of nnlite.
    """
    ended = subprocess.run(
        [sys.executable, _PROGRAM, ",".join(HEAVY)],
        input=json.dumps([[str(home), *command] for home, *command in commands]),
        env={name: value for name, value in os.environ.items() if not name.startswith("NNLITE_")},
        stdout=subprocess.PIPE, text=True, timeout=HANG_S, check=True,
    )  # fmt: skip
    return [
        Ran(code, heavy, home.with_name(f"{home.name}.out").read_text(), home)
        for (home, *_), (code, heavy) in zip(commands, json.loads(ended.stdout), strict=True)
    ]
