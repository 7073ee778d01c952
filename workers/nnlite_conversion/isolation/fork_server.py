"""The fork server: a process that has preloaded and holds no password, and forks the tree of each conversion.

A forked child has a copy of its parent's memory, and model code can read all of it. So the worker forks this
server before it reads its settings, and has it fork every child. Over a socket of local packets:

    worker -> server   whether model code may use the network; the server preloads, once
    server -> worker   why it cannot convert, before it ends; nothing where it can
    worker -> server   descriptors: a conversation's socket, what to run (pickled), outputs of the tree

and in a conversation, one for each conversion:

    server -> worker   PID of the supervisor, with its pidfd
    worker -> server   closes its end: the group is killed and the supervisor reaped
    server -> worker   closes its end when that is done

Every process of the worker has the reading end of a pipe, which holds a byte once the server has preloaded,
and is at its end without one where it cannot.

The kernel kills the server with its worker, and the trees with the server; they also end when the pool
process that asked for them has ended.
"""

import contextlib
import os
import pickle
import select
import signal
import socket
from typing import Final, Self

from nnlite.errors import Failure, FailureClass, NnliteError
from nnlite.host.fork import die_with_parent, reset_signals
from nnlite.settings import PREFIX
from nnlite.vocabulary import Stage
from nnlite_conversion.isolation import sandbox
from nnlite_conversion.isolation.child import Body, Forked, Isolation, Outputs, fork_tree, run_and_exit
from nnlite_conversion.isolation.huge_pages import into_huge_pages
from nnlite_conversion.preload import preload

_MAX_MESSAGE_BYTES: Final = 4096
#: A fork takes milliseconds; a server that does not answer for so long has ended or hangs, seconds.
_ANSWER_TIMEOUT_S: Final = 60.0
#: Of a request.
_DESCRIPTORS: Final = 6
#: Each conversion copies the server's page tables three times, and huge pages save 0.08 s of it. Where the
#: kernel must compact memory for them, they cost as much as a dozen conversions or more save.
_FORKS_IN_SMALL_PAGES: Final = 4
_WITH_NETWORK: Final = b"network"
_WITHOUT_NETWORK: Final = b"no network"


class ForkServer:
    """A fork server, as the worker and its pool processes see it; a context manager that ends it."""

    def __init__(self) -> None:
        """Fork the server; before this process reads anything that model code must not."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._preloaded, preloaded = os.pipe()
        self._asked = False
        self._worker = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            self._socket.close()
            run_and_exit(lambda: _serve(theirs, preloaded, self._worker))
        theirs.close()
        os.close(preloaded)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._socket.close()
        os.close(self._preloaded)

    def preload(self, *, network: bool) -> None:
        """Let the server import what a conversion needs, unless it has; this does not wait.

        Any process of the worker may ask, and again.

        Args:
            network: keep Hugging Face's libraries online.
        """
        if not self._asked:
            self._asked = True
            with contextlib.suppress(OSError):  # it has ended: `has_failed`
                self._socket.send(_WITH_NETWORK if network else _WITHOUT_NETWORK)

    def has_preloaded(self, *, wait_s: float = 0) -> bool:
        """Return whether the server has preloaded; in any process of the worker."""
        return bool(self._events(wait_s) & select.POLLIN)

    def has_failed(self) -> bool:
        """Return whether the server ended before it had preloaded."""
        return self._events(0) == select.POLLHUP

    def check(self) -> None:
        """Raise if the server ended before it had preloaded; in the worker's own process.

        Raises:
            NnliteError: why it cannot convert.
        """
        if self.has_failed():
            reason = self._socket.recv(_MAX_MESSAGE_BYTES).decode(errors="replace")
            raise NnliteError(reason or "the process that imports PyTorch ended; its log says why")

    def _events(self, wait_s: float) -> int:
        """Return what `poll` says of the pipe within `wait_s`; 0: nothing has happened."""
        poll = select.poll()
        poll.register(self._preloaded, select.POLLIN)
        return next((events for _, events in poll.poll(wait_s * 1000)), 0)

    def fork(self, body: Body, isolation: Isolation, outputs: Outputs) -> Forked:
        """Have the server fork the tree of `body`, which must be picklable.

        Raises:
            Failure: class `infrastructure`: the server has ended. The worker is stopped, to be started again.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_ANSWER_TIMEOUT_S)
        request = os.memfd_create("nnlite-conversion")
        try:
            with theirs, os.fdopen(os.dup(request), "wb") as file:
                pickle.dump((body, isolation), file)
                file.flush()
                socket.send_fds(self._socket, [b"fork"], [theirs.fileno(), request, *outputs])
            answer, descriptors, _, _ = socket.recv_fds(ours, _MAX_MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            answer = b""
        finally:
            os.close(request)
        if not answer:
            ours.close()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._worker, signal.SIGTERM)
            reason = "the process that forks conversions has ended; the worker stops, to be started again"
            raise Failure(FailureClass.INFRASTRUCTURE, Stage.LOAD, reason)
        return Forked(group=int(answer), supervisor_fd=descriptors[0], reap=lambda: _end(ours))


def _end(conversation: socket.socket) -> None:
    with conversation, contextlib.suppress(OSError):  # the server has ended, and the kernel reaps
        conversation.shutdown(socket.SHUT_WR)
        conversation.recv(1)


def _serve(requests: socket.socket, preloaded: int, worker: int) -> None:
    """Preload, say so through the pipe `preloaded`, then serve until the worker has ended."""
    reset_signals()
    # They are sent to the worker's group: conversions end when the worker says so.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sandbox.keep_only({requests.fileno(), preloaded})
    die_with_parent(lambda: os.getppid() != worker)
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    wanted = requests.recv(_MAX_MESSAGE_BYTES)
    try:
        preload(network=wanted == _WITH_NETWORK)
    except NnliteError as error:
        requests.send(str(error).encode()[:_MAX_MESSAGE_BYTES])
        return
    os.write(preloaded, b".")
    os.close(preloaded)
    forks = 0
    trees: dict[socket.socket, int] = {}
    while True:
        ready, _, _ = select.select([requests, *trees], [], [])
        for conversation in trees.keys() & set(ready):
            _reap(conversation, trees.pop(conversation))
        if requests in ready:
            asked, descriptors, _, _ = socket.recv_fds(
                requests, _MAX_MESSAGE_BYTES, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
            if not asked:
                return
            if descriptors:
                conversation = socket.socket(fileno=descriptors[0])
                trees[conversation] = _fork(conversation, *descriptors[1:])
                forks += 1
                if forks == _FORKS_IN_SMALL_PAGES:
                    into_huge_pages()  # while the conversion runs


def _fork(conversation: socket.socket, request: int, *outputs: int) -> int:
    """Fork the tree that is asked for; return the supervisor's PID."""
    with os.fdopen(request, "rb") as file:
        file.seek(0)
        body, isolation = pickle.load(file)  # noqa: S301 -- from the worker; nothing of a model's is unpickled
    forked = fork_tree(body, isolation, Outputs(*outputs))
    with contextlib.suppress(OSError):  # the worker has ended; its conversation is read as closed
        socket.send_fds(conversation, [str(forked.group).encode()], [forked.supervisor_fd])
    for number in (*outputs, forked.supervisor_fd):
        os.close(number)
    return forked.group


def _reap(conversation: socket.socket, supervisor: int) -> None:
    with conversation:
        os.killpg(supervisor, signal.SIGKILL)
        os.waitpid(supervisor, 0)
