"""The runtime's process is bounded, held and ended; a module of the tests' own stands in for TensorFlow."""

import os
import select
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from nnlite.host.tflite_environment import RuntimeEnvironment, needed_environment, runtime_environment
from nnlite.host.tflite_library import LIBRARY
from nnlite.settings import Settings, SettingsError
from nnlite.settings.groups import RuntimeCheckSettings
from nnlite_benchmark.runtime_check import process
from nnlite_benchmark.runtime_check.process import (
    ArtifactAnswer,
    RuntimeDiedError,
    RuntimeProcess,
    RuntimeUnusableError,
)
from waiting import HANG_S

pytestmark = pytest.mark.process

#: A TensorFlow that does in the fork what the artifact's text says.
STAND_INS = Path(__file__).parent / "stand_ins"


@pytest.fixture
def environment(tmp_path: Path) -> RuntimeEnvironment:
    """A Python that finds the tests' TensorFlow."""
    python = tmp_path / "python"
    # -I leaves out PYTHONPATH and the current folder: the path is given to the runner itself.
    python.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c \"import sys, runpy; sys.path.insert(0, '{STAND_INS}'); "
        'sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name=\'__main__\')" "$3" "$4"\n'
    )
    python.chmod(0o755)
    return RuntimeEnvironment(python=python, version="2.16.99")


@pytest.fixture
def run(environment, tmp_path):
    """Run an artifact that is Python code."""
    bounds = RuntimeCheckSettings(timeout_s=HANG_S, memory_limit_mb=64)
    with RuntimeProcess(environment, tmp_path / "log", bounds) as runtime:

        def one(code: str, bounds: RuntimeCheckSettings = bounds, tick=lambda: True) -> ArtifactAnswer:
            runtime._bounds = bounds
            artifact = tmp_path / "artifact"
            artifact.write_text(code)
            return runtime.run(artifact, [], tmp_path, tick)

        yield one


def test_an_artifact_that_kills_its_fork_leaves_the_process_to_the_next(run, tmp_path):
    pid = run("raise ValueError(str(os.getppid()))").refusal
    for code, end in (
        ("os.abort()", "was ended by SIGABRT"),
        ("os._exit(3)", "exited with status 3"),
        ("os.kill(os.getpid(), 9)", "was ended by SIGKILL"),
        ("raise KeyError('not the runtime speaking')", "exited with status 1"),
    ):
        with pytest.raises(RuntimeDiedError, match=end):
            run(code)
    assert "KeyError: 'not the runtime speaking'\n" in (tmp_path / "log").read_text()
    assert run("raise ValueError(str(os.getppid()))").refusal == pid != str(os.getpid())


def test_memory_beyond_the_limit_is_the_forks_end_and_not_the_machines(run):
    with pytest.raises(RuntimeDiedError, match="exited with status 1"):
        run("held = bytearray(256 << 20)")


def test_an_artifact_that_hangs_is_ended_with_its_process_and_the_next_gets_another(run):
    pid = run("raise ValueError(str(os.getppid()))").refusal
    with pytest.raises(RuntimeDiedError, match=r"did not run the artifact within 0\.2 s"):
        run("time.sleep(3600)", RuntimeCheckSettings(timeout_s=0.2))
    assert is_gone(pid)
    assert run("raise ValueError(str(os.getppid()))").refusal not in {None, pid}


def test_what_a_tick_raises_ends_the_process_and_its_fork(run, tmp_path):
    note = tmp_path / "note"

    def tick() -> bool:
        if note.exists():
            raise InterruptedError
        return True

    with pytest.raises(InterruptedError):
        run(f"{noting(note)}; time.sleep(3600)", tick=tick)
    assert is_gone(note.read_text())


def test_time_on_hold_does_not_count_and_nothing_runs_meanwhile(run, tmp_path, monkeypatch):
    note, go_on, states, now_s = tmp_path / "note", tmp_path / "go-on", [], [0.0]

    def tick() -> bool:
        if note.exists() and len(states) < 3:
            stat = Path(f"/proc/{note.read_text()}/stat").read_text()
            states.append(stat.rpartition(")")[2].split()[0])
        if len(states) == 3:
            go_on.touch()
        return len(states) in {0, 3}

    def clock() -> float:
        now_s[0] += 0.0 if len(states) in {0, 3} else 1000.0
        return now_s[0]

    monkeypatch.setattr(process.time, "monotonic", clock)
    code = (
        f"{noting(note)}\nwhile not os.path.exists('{go_on}'): time.sleep(0.001)\nraise ValueError('went on')"
    )
    assert run(code, tick=tick).refusal == "went on"
    assert states[1:] == ["T", "T"]
    assert now_s[0] > 1000


def test_the_process_ends_with_its_worker(environment, tmp_path):
    reading, writing = os.pipe()
    worker = os.fork()
    if worker == 0:
        (tmp_path / "artifact").write_text("raise ValueError(str(os.getppid()))")
        runtime = RuntimeProcess(environment, tmp_path / "log", RuntimeCheckSettings())
        os.write(writing, str(runtime.run(tmp_path / "artifact", [], tmp_path).refusal).encode())
        signal.pause()
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        pid = pipe.read(100).decode()
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    assert is_gone(pid)


def test_an_environment_that_does_not_start_is_not_the_artifacts_fault(tmp_path):
    broken = RuntimeEnvironment(python=Path(sys.executable), version="2.16.99")  # without TensorFlow
    with (
        RuntimeProcess(broken, tmp_path / "log", RuntimeCheckSettings()) as runtime,
        pytest.raises(RuntimeUnusableError, match="No module named 'tensorflow'"),
    ):
        runtime.run(tmp_path / "artifact", [], tmp_path)


def test_a_setting_that_names_no_environment_is_one_clear_line(tmp_path):
    assert runtime_environment(settings()) is None
    with pytest.raises(SettingsError, match=r"LIBRARY is not set.*`make runtime-check` in a checkout"):
        needed_environment(settings())
    with pytest.raises(SettingsError, match=rf"NNLITE_RUNTIME_CHECK__ENVIRONMENT={tmp_path}: .*does not run"):
        runtime_environment(settings(environment=tmp_path))
    with pytest.raises(SettingsError, match="TensorFlow is not installed in it; make one with"):
        runtime_environment(settings(environment=Path(sys.prefix)))


@pytest.mark.parametrize(
    ("runtime", "setting"), [("apk", "LIBRARY, the folder"), ("tensorflow", "ENVIRONMENT, an environment")]
)
def test_a_runtime_that_is_asked_for_needs_its_setting(runtime, setting):
    with pytest.raises(SettingsError, match=f"RUNTIME={runtime} needs NNLITE_RUNTIME_CHECK__{setting}"):
        runtime_environment(settings(runtime=runtime))


def elf(machine: int) -> bytes:
    """The beginning of a library for a machine; the rest is missing."""
    return b"\x7fELF\2\1\1".ljust(18, b"\0") + machine.to_bytes(2, "little")


OTHER, OTHER_NAME = (62, "x86-64") if os.uname().machine == "aarch64" else (183, "arm64")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file or directory: .*libtensorflowlite_jni.so; build it with `make runtime-check`"),
        (b"PK", "is for no program, this machine is "),
        (
            elf(OTHER),
            f"is for {OTHER_NAME}, this machine is .*; set NNLITE_RUNTIME_CHECK__RUNTIME=tensorflow",
        ),
        (
            Path(sys.executable).read_bytes()[:64],
            r"OSError: .*libc\.so: cannot open shared object file.*; build it with `make runtime-check`",
        ),
    ],
    ids=["not built", "no library", "wrong architecture", "no shim"],
)
def test_a_library_that_cannot_be_used_is_one_clear_line(tmp_path, content, says):
    if content is not None:
        (tmp_path / LIBRARY).write_bytes(content)
    with pytest.raises(SettingsError, match=rf"NNLITE_RUNTIME_CHECK__LIBRARY={tmp_path}: .*{says}"):
        runtime_environment(settings(library=tmp_path, environment=Path(sys.prefix)))


def noting(file: Path) -> str:
    """Code that leaves the number of its process in `file`."""
    return f"open('{file}.new', 'w').write(str(os.getpid())); os.rename('{file}.new', '{file}')"


def is_gone(pid: str | None) -> bool:
    """Whether a process ends, or has."""
    assert pid is not None
    try:
        descriptor = os.pidfd_open(int(pid))
    except ProcessLookupError:
        return True
    ended, _, _ = select.select([descriptor], [], [], HANG_S)
    os.close(descriptor)
    return bool(ended)


def settings(**checks: Any) -> Settings:
    return Settings(runtime_check=RuntimeCheckSettings(**checks), _env_file=None)
