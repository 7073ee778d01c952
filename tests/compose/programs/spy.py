"""A model that tries to reach what model code must not, and fails with the list of what it reached.

As a program it does the same for the account that runs it, and prints the list.
"""

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
    """Read passwords and what other services share."""
    for place in map(Path, PLACES):
        for folder, _, names in os.walk(place):
            yield from (f"file {folder}/{name}" for name in names if os.access(f"{folder}/{name}", os.R_OK))


def processes() -> Iterator[str]:
    """Read environment and memory of the processes above this one."""
    pid = os.getppid()
    while pid:
        for name in ("environ", "mem"):
            try:
                Path(f"/proc/{pid}/{name}").open("rb").close()
                yield f"{name} of a process above"
            except OSError:
                continue
        status = Path(f"/proc/{pid}/status").read_text()
        pid = int(status.partition("PPid:")[2].split()[0])


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


if __name__ == "__main__":
    print(f"reached {reached()}")
