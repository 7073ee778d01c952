"""`servers.json`: ports, passwords and processes of a home's embedded servers.

Ports and passwords outlive the servers, so that a worker's URL stays valid across
restarts. The file has mode 0600 and is written atomically; its format is that of 0.1.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from nnlite.errors import NnliteError
from nnlite.host.files import write_atomically
from nnlite.host.processes import ProcessIdentity


@dataclass(frozen=True, kw_only=True)
class ServerEntry:
    """One embedded server."""

    port: int
    password: str = field(repr=False)
    #: None if it was stopped; a dead process is one that crashed.
    process: ProcessIdentity | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """The content of `servers.json`."""

    #: By name of the server.
    servers: dict[str, ServerEntry] = field(default_factory=dict)
    #: The server daemon; `guardian` in the file.
    daemon: ProcessIdentity | None = None

    def with_server(self, name: str, entry: ServerEntry) -> Self:
        """Return the record with one entry changed."""
        return replace(self, servers={**self.servers, name: entry})


def record_path(home: Path) -> Path:
    """Return the path of the state file of `home`."""
    return home / "servers.json"


def read_record(home: Path) -> Record:
    """Return the record of `home`; an empty one if there is no file yet.

    Raises:
        NnliteError: the file cannot be read, or is damaged.
    """
    path = record_path(home)
    try:
        document = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return Record()
    except PermissionError as error:
        raise NnliteError(
            f"{path} belongs to another account; run as that account,"
            " or set NNLITE_HOME to a folder of your own"
        ) from error
    except ValueError as error:
        raise _damaged(path, error) from error
    try:
        return Record(
            servers={name: _entry(entry) for name, entry in document["servers"].items()},
            daemon=_process(document["guardian"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error


def write_record(home: Path, record: Record) -> None:
    """Replace the record of `home` atomically and durably."""
    document = {"servers": record.servers, "guardian": record.daemon}
    text = json.dumps(document, indent=2, default=asdict) + "\n"
    write_atomically(record_path(home), text, private=True, durable=True)


def _entry(document: dict[str, Any]) -> ServerEntry:
    return ServerEntry(
        port=document["port"], password=document["password"], process=_process(document["process"])
    )


def _process(document: dict[str, Any] | None) -> ProcessIdentity | None:
    return None if document is None else ProcessIdentity(pid=document["pid"], started=document["started"])


def _damaged(path: Path, error: Exception) -> NnliteError:
    return NnliteError(
        f"{path} is damaged ({error!r}); remove it: the servers get new passwords, their data stay"
    )
