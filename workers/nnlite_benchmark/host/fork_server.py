"""The fork server: a process that has imported NumPy and LiteRT, and forks a measuring process for each run.

A new Python needs 0.2 s of CPU time for these imports, a fork some milliseconds. The
server never loads an artifact, so nothing of one run is left for the next. It
serves one run at a time, over a socket on its standard input:

    worker -> server   path of the request, with two descriptors: for stages, for stderr
    server -> worker   PID of the measuring process, which leads a group of its own
    server -> worker   its exit status, or minus the signal that ended it
    worker -> server   anything: the group is killed, the process may be reaped
    server -> worker   anything: it is

The kernel kills it with its worker, and a measuring process with the server.
"""

import gc
import os
import socket
import sys
import traceback
from pathlib import Path
from typing import Final, Never

from nnlite.host.fork import die_with_parent
from nnlite_benchmark.host import runner
from nnlite_benchmark.host.resident_pages import resident_pages, touch

MAX_MESSAGE_BYTES: Final = 4096
_DESCRIPTORS: Final = 2


def main() -> None:
    """Serve the worker whose PID is the first argument until it closes the socket."""
    parent = int(sys.argv[1])
    die_with_parent(lambda: os.getppid() != parent)
    import_runtime()
    pages = resident_pages()
    # A collection in a fork would write to, and so copy, every page with an object.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=os.dup(0)) as worker:
        while serve_one(worker, pages):
            pass


def import_runtime() -> None:
    """Import what a measuring process needs; neither starts a thread, which a fork would lose."""
    import numpy  # noqa: F401

    import nnlite_benchmark.host.litert_session  # noqa: F401

    runner.runtime_version()


def serve_one(worker: socket.socket, pages: list[int]) -> bool:
    """Serve one run; returns False once the worker has closed the socket."""
    request, descriptors, _, _ = socket.recv_fds(worker, MAX_MESSAGE_BYTES, _DESCRIPTORS)
    if not request:
        return False
    stages, stderr = descriptors
    server, pid = os.getpid(), os.fork()
    if pid == 0:
        worker.close()
        _measure(server, Path(os.fsdecode(request)), stages, stderr, pages)
    os.close(stages)
    os.close(stderr)
    _lead_group(pid)
    worker.send(str(pid).encode())
    worker.send(str(_exit_status(pid)).encode())
    worker.recv(MAX_MESSAGE_BYTES)
    os.waitpid(pid, 0)
    worker.send(b"reaped")
    return True


def _exit_status(pid: int) -> int:
    """Wait for a child and return its exit status, or minus its signal.

    It is not reaped: until the worker has killed the group, the group's number must not become another's.
    """
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None  # noqa: S101 -- without WNOHANG there is a result
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def _measure(server: int, request_file: Path, stages: int, stderr: int, pages: list[int]) -> Never:
    """Run a request in this process, a fork, and end it."""
    try:
        _lead_group(0)
        die_with_parent(lambda: os.getppid() != server)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(stages, 1)
        os.dup2(stderr, 2)
        os.close(stages)
        os.close(stderr)
        os.chdir(request_file.parent)
        touch(pages)
        runner.run(runner.RunRequest.from_json(request_file.read_text(encoding="utf-8")))
    except Exception:  # noqa: BLE001 -- the stack of a fork must not go on into the server
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


def _lead_group(pid: int) -> None:
    """Make a process the leader of its group; parent and child both do it, whichever comes first."""
    try:
        os.setpgid(pid, pid)
    except OSError:
        return  # the child has done it, or has ended


if __name__ == "__main__":
    main()
