"""Supervises the runtime's process: starts it on demand, stops and continues it, enforces limits, kills it.

It loads the runtime once for many artifacts: the app's library, or TensorFlow, whose import takes seconds.
Its output is validated. When it does not answer in time, it is killed with everything that it started; the
next artifact gets a new one.
"""

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nnlite.errors import NnliteError
from nnlite.host import child_process
from nnlite.host.child_process import KILL_TIMEOUT_S, how_it_ended, kill_group, minimal_environment, tail
from nnlite.host.tflite_environment import RuntimeEnvironment
from nnlite.settings.groups import RuntimeCheckSettings

RUNNER: Final = Path(__file__).with_name("runner.py")
#: Between two calls of `tick`, seconds.
TICK_S: Final = 0.1
#: Until the runtime is loaded, seconds: TensorFlow takes long.
START_TIMEOUT_S: Final = 120.0
MAX_LINE_BYTES: Final = 1 << 20
LOG_TAIL_BYTES: Final = 2000

#: Whether the process may run now; called ten times a second, may raise.
Tick = Callable[[], bool]


class RuntimeDiedError(Exception):
    """The runtime's process, or its fork for the artifact, died, hung or wrote invalid output."""


class RuntimeUnusableError(NnliteError):
    """The runtime's process does not start: its environment is at fault, not an artifact."""


class Output(BaseModel):
    """One output tensor, in a file of the request's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(pattern=r"^output_\d+\.raw$")
    dtype: str
    shape: tuple[int, ...]


class ArtifactAnswer(BaseModel):
    """Result of one artifact: outputs, a refusal, or the fork's exit code (negative: a signal)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str | None = None
    outputs: tuple[Output, ...] = ()
    refusal: str | None = None
    #: Operators of a refused artifact and their versions.
    operators: dict[str, int] = {}
    died: int | None = None


class RuntimeProcess:
    """TensorFlow Lite in a process of its own; leaving the context ends the process.

    Args:
        environment: its Python and version, and the app's library if it is that one.
        log: file of its stderr; truncated at each start.
        bounds: limits of one artifact: time, without the time stopped, and memory on top of the runtime's.
    """

    def __init__(self, environment: RuntimeEnvironment, log: Path, bounds: RuntimeCheckSettings) -> None:
        self._environment = environment
        self._log = log
        self._bounds = bounds
        self._process: subprocess.Popen[bytes] | None = None

    def run(
        self, artifact: Path, inputs: Sequence[Path], folder: Path, tick: Tick = lambda: True
    ) -> ArtifactAnswer:
        """Run one artifact; `folder` gets its outputs.

        Args:
            inputs: one raw little-endian file for each, in the artifact's order.
            tick: False holds the process, all of it, until it returns True.

        Raises:
            RuntimeDiedError: it died or did not answer in time.
            RuntimeUnusableError: it does not start.
            BaseException: raised by `tick`; the process is killed then.
        """
        request = {
            "artifact": str(artifact.resolve()),
            "inputs": [str(file.resolve()) for file in inputs],
            "folder": str(folder.resolve()),
            "memory_limit_mb": self._bounds.memory_limit_mb,
        }
        try:
            if self._process is None:
                self._start(tick)
            self._send(request)
            answer = self._answer(tick, self._bounds.timeout_s, "run the artifact")
        except BaseException:
            self.close()
            raise
        if answer.died is not None:
            raise RuntimeDiedError(f"the runtime {how_it_ended(answer.died)}")
        return answer

    def close(self) -> None:
        """Kill the process and its forks; the next artifact starts another."""
        process, self._process = self._process, None
        if process is not None:
            kill_group(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, tick: Tick) -> None:
        of_apk = [] if self._environment.library is None else [self._environment.library]
        try:
            with self._log.open("wb") as log:
                self._process = child_process.start(
                    [self._environment.python, "-I", "-B", RUNNER, str(os.getpid()), *of_apk],
                    log,
                    environment=minimal_environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            self._answer(tick, START_TIMEOUT_S, "load TensorFlow Lite")
        except (OSError, RuntimeDiedError) as error:
            raise RuntimeUnusableError(f"{self._environment.place} cannot be used: {error}") from error

    def _send(self, request: dict[str, Any]) -> None:
        assert self._process is not None and self._process.stdin is not None  # noqa: S101
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._dead() from error

    def _answer(self, tick: Tick, timeout_s: float, task: str) -> ArtifactAnswer:
        """Return the next line; time on hold does not count."""
        assert self._process is not None and self._process.stdout is not None  # noqa: S101
        pipe = self._process.stdout.fileno()
        line, left_s, held = b"", timeout_s, False
        while not line.endswith(b"\n"):
            if (hold := not tick()) is not held:
                os.killpg(self._process.pid, signal.SIGSTOP if hold else signal.SIGCONT)
                held = hold
            since_s = time.monotonic()
            readable, _, _ = select.select([pipe], [], [], TICK_S)
            left_s -= 0.0 if held else time.monotonic() - since_s
            if readable:
                chunk = os.read(pipe, 65536)
                line += chunk
                if not chunk:
                    raise self._dead()
                if len(line) > MAX_LINE_BYTES:
                    raise RuntimeDiedError("the runtime's process writes without end")
            elif left_s <= 0:
                raise RuntimeDiedError(f"the runtime did not {task} within {timeout_s:g} s{self._log_tail()}")
        try:
            return ArtifactAnswer.model_validate_json(line)
        except ValidationError as error:
            raise RuntimeDiedError(f"the runtime's process wrote invalid output: {line[:80]!r}") from error

    def _dead(self) -> RuntimeDiedError:
        assert self._process is not None  # noqa: S101
        code = self._process.wait(timeout=KILL_TIMEOUT_S)
        return RuntimeDiedError(f"the runtime's process {how_it_ended(code)}{self._log_tail()}")

    def _log_tail(self) -> str:
        text = tail(self._log, LOG_TAIL_BYTES).strip()
        return f": {text}" if text else ""
