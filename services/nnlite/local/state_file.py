"""`servers.json`: what a home's embedded servers are reached by, and which processes they are.

Ports and passwords outlive the servers, so that a worker's URL stays right
across restarts. Written whole or not at all, mode 0600.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from nnlite.errors import NnliteError
from nnlite.host.files import write_atomically
from nnlite.host.processes import ProcessIdentity


class RecordError(NnliteError):
    """`servers.json` cannot be read."""


@dataclass(frozen=True, kw_only=True)
class ServerEntry:
    """One embedded server."""

    port: int
    password: str = field(repr=False)
    #: None when stopped in order; a dead process is one that crashed.
    process: ProcessIdentity | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """All that `servers.json` says."""

    #: By name of the server.
    servers: dict[str, ServerEntry] = field(default_factory=dict)
    guardian: ProcessIdentity | None = None

    def with_server(self, name: str, entry: ServerEntry) -> Self:
        """Return the record with one entry changed."""
        return replace(self, servers={**self.servers, name: entry})


def record_path(home: Path) -> Path:
    """Return where the record of `home` lies."""
    return home / "servers.json"


def read_record(home: Path) -> Record:
    """Return the record of `home`; an empty one where there is none yet.

    Raises:
        RecordError: it is there, but not readable or not a record.
    """
    path = record_path(home)
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        return Record()
    except PermissionError as error:
        raise RecordError(
            f"{path} belongs to another account; run as that account,"
            " or set NNLITE_HOME to a folder of your own"
        ) from error
    except ValueError as error:
        raise _damaged(path, error) from error
    try:
        return Record(
            servers={name: _entry(entry) for name, entry in document["servers"].items()},
            guardian=_process(document["guardian"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error


def write_record(home: Path, record: Record) -> None:
    """Replace the record of `home` in one step, and make it last."""
    text = json.dumps(asdict(record), indent=2) + "\n"
    write_atomically(record_path(home), text, private=True, durable=True)


def _entry(document: dict[str, Any]) -> ServerEntry:
    return ServerEntry(
        port=document["port"], password=document["password"], process=_process(document["process"])
    )


def _process(document: dict[str, Any] | None) -> ProcessIdentity | None:
    return None if document is None else ProcessIdentity(pid=document["pid"], started=document["started"])


def _damaged(path: Path, error: Exception) -> RecordError:
    return RecordError(
        f"{path} is damaged ({error!r}); remove it: the servers get new passwords, their data stay"
    )
