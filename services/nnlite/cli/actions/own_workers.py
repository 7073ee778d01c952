"""Workers that a command starts on this machine, as soon as no other command has its own."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Self

from nnlite.cli.actions.session import Session
from nnlite.errors import NnliteError
from nnlite.local import Supervisor, Worker, daemon, local_instance, logs, workers_lock

#: Arguments of the programs that measure on this machine, by name.
MEASURING = {"benchmark": ["worker", "benchmark", "--device", "host"], "reaper": ["reaper"]}


def programs(converters: int, *, checks: bool) -> dict[str, list[str]]:
    """Return the arguments of all programs of this machine, by name."""
    return {
        "convert": ["worker", "convert", "--concurrency", str(converters)],
        **MEASURING,
        **({"check": ["worker", "check"]} if checks else {}),
    }


#: A worker that was restarted this often does not come up at all.
_MAX_RESTARTS = 5


class OwnWorkers:
    """Keeps the programs of a command running from the first `check` at which no other command has its own.

    One command at a time runs workers on a machine, and commands need different ones: a command that uses
    the workers of another starts its own when that one has ended.
    """

    def __init__(self, cluster: Session, programs: Mapping[str, list[str]]) -> None:
        """Start nothing yet."""
        self._cluster = cluster
        self._programs = programs
        self._supervisor: Supervisor | None = None
        self._stack = ExitStack()

    @property
    def started(self) -> bool:
        """Whether they run; False: another command's do."""
        return self._supervisor is not None

    def check(self, but: str | None = None) -> None:
        """Start the programs if no other command has its own any more; called about once a second.

        Raises:
            NnliteError: one does not stay up, other than `but`.
        """
        if self._supervisor is None:
            if not self._try_lock():
                return
            self._supervisor = self._stack.enter_context(self._supervised())
        for status in self._supervisor.status():
            if status.name != but and status.restarts >= _MAX_RESTARTS and status.pid is None:
                log = self._cluster.settings.home / "logs" / f"{status.name}.log"
                said = logs.last_message(log) or f"exit status {status.exit_status}"
                raise NnliteError(f"the {status.name} worker does not stay up: {said}; its log is {log}")

    def _supervised(self) -> Supervisor:
        workers = [
            Worker(name=name, argv=daemon.command(*arguments), stop_rank=int(name == "reaper"))
            for name, arguments in self._programs.items()
        ]
        return Supervisor(local_instance(self._cluster.settings), workers)

    def __enter__(self) -> Self:
        self._try_lock = self._stack.enter_context(workers_lock(self._cluster.settings))
        try:
            self.check()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # The workers have ended before another command may start its own.
        self._stack.close()
