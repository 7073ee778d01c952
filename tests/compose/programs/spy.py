"""A model that tries to reach what model code must not, and fails with the list of what it reached."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import torch

PLACES = ("/private", "/run/secrets", "/artifacts", "/quiet")


def servers() -> Iterator[str]:
    """Connect to the lab's servers."""
    for host, port in (("postgres", 5432), ("redis", 6379), ("reaper", 9464)):
        try:
            socket.create_connection((host, port), timeout=5).close()
            yield f"server {host}"
        except OSError:
            continue


def files() -> Iterator[str]:
    """Read passwords and what other services share; a certificate authority is public."""
    for place in map(Path, PLACES):
        for folder, _, names in os.walk(place):
            paths = (f"{folder}/{name}" for name in names if name != "ca")
            yield from (f"file {path}" for path in paths if os.access(path, os.R_OK))


def processes() -> Iterator[str]:
    """Read environment and memory of other processes."""
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("environ", "mem"):
            try:
                if int(folder.name) != os.getpid():
                    (folder / name).open("rb").close()
                    yield f"{name} of another process"
            except OSError:
                continue


def privileges() -> Iterator[str]:
    """Take what an account without privileges may not."""
    capabilities = Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0]
    if int(capabilities, 16):
        yield f"capabilities {capabilities}"
    try:
        os.setuid(0)
        yield "account 0"
    except OSError:
        return


def reached() -> str:
    """Return what this process reaches, each thing once."""
    found = {what for attempt in (servers, files, processes, privileges) for what in attempt()}
    return ", ".join(sorted(found)) or "nothing"


class Net(torch.nn.Module):
    """The model."""

    def __init__(self) -> None:
        super().__init__()
        raise RuntimeError(f"reached {reached()}")
