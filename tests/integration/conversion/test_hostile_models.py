"""Hostile models: crashes, limits, hangs, forged messages and daemons harm neither worker nor machine.

More than 300 lines: every model attacks the same parent, with and without namespaces.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from integration.conversion.models import CLASSIFIER, DOUBLING, network
from nnlite.errors import Failure, FailureClass
from nnlite.host.processes import living
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import Stage
from nnlite_conversion.culprit import OUTERMOST
from nnlite_conversion.isolation import conversion, process_tree, sandbox, seccomp, supervision
from nnlite_conversion.isolation.child import STACK_SIGNAL
from nnlite_conversion.isolation.conversion import convert
from nnlite_conversion.isolation.process_registry import FOLDER, kill_orphans, registered
from waiting import HANG_S, JumpingClock, end, wait_until

#: No conversion here comes to its limit by itself.
PATIENT = ConversionSettings(timeout_s=HANG_S, absolute_timeout_s=10 * HANG_S)
#: Code of a model that gives its process a name.
CALLED = "ctypes.CDLL(None).prctl(15, {name!r}.encode())"

#: Starts a process that ignores what can be ignored, leaves the group, and says who it is.
GRANDCHILD = """
    if os.fork() == 0:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        ctypes.CDLL(None).prctl(15, {name!r}.encode(), 0, 0, 0)
        while True:
            time.sleep(60)
"""


def run(job, settings, place, tick=lambda stage: True):
    return convert(job, settings, workdir=place, tick=tick)


def failure_of(job, settings, place, tick=lambda stage: True) -> Failure:
    others = children()  # such as the servers of other tests
    with pytest.raises(Failure) as failure, run(job, settings, place, tick):
        pass
    assert children() == others
    return failure.value


def children() -> set[int]:
    return set(process_tree.children_of(os.getpid()))


def named(name: str) -> list[int]:
    """Return the living processes called `name`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if (entry / "comm").read_text().strip() == name and living(int(entry.name)):
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


@pytest.fixture
def no_namespaces(monkeypatch) -> None:
    monkeypatch.setattr(sandbox, "enter_namespaces", lambda *, network: False)


@pytest.fixture
def clock(monkeypatch) -> JumpingClock:
    """The supervisor's clock."""
    clock = JumpingClock()
    monkeypatch.setattr(supervision, "time", clock)
    return clock


@pytest.fixture
def hangs(clock, name):
    """A tick at which the limit of a conversion is over as soon as the model's code is called `name`."""

    def tick(stage: Stage) -> bool:
        if named(name):
            clock.jump(HANG_S)
        return True

    return tick


@pytest.fixture
def name(request) -> str:
    """Return a process name that only this test uses."""
    return f"nn{abs(hash(request.node.name)) % 10**8}-{os.getpid() % 10**4}"


@pytest.fixture
def no_filter(monkeypatch) -> None:
    """A kernel that takes the seccomp filter and does not hold it."""
    monkeypatch.setattr(seccomp, "forbid_network", lambda: None)


@pytest.mark.usefixtures("no_filter")
def test_nothing_of_a_model_runs_where_the_network_filter_does_not_hold(job, settings, place):
    failure = failure_of(job(network("return x", top="os.abort()")), settings, place)

    assert (failure.failure_class, failure.stage) == (FailureClass.INFRASTRUCTURE, Stage.LOAD)
    assert "does not hold the seccomp filter and permits socket(AF_INET), " in failure.reason
    assert "NNLITE_CONVERSION__NETWORK_FILTER=false" in failure.reason
    assert (failure.details["exit"], failure.details["signal"]) == (0, None)


@pytest.mark.usefixtures("no_filter")
def test_without_the_filter_a_namespace_without_interfaces_is_enough_if_it_is_permitted(job, settings, place):
    if problem := sandbox.network_problem(filter_required=False):
        pytest.skip(f"no namespace without interfaces is to be had here: {problem}")
    permitted = settings.model_copy(update={"network_filter": False})

    with run(job(DOUBLING), permitted, place) as outcome:
        assert len(outcome.artifacts) == 1


@pytest.mark.usefixtures("no_filter", "no_namespaces")
def test_without_the_filter_nothing_of_a_model_runs_where_there_is_an_interface(
    job, settings, place, monkeypatch
):
    permitted = settings.model_copy(update={"network_filter": False})
    monkeypatch.setattr(sandbox, "_network_interfaces", lambda: ["eth0"])

    failure = failure_of(job(network("return x", top="os.abort()")), permitted, place)

    assert failure.failure_class is FailureClass.INFRASTRUCTURE
    assert failure.reason.endswith(
        "needs: eth0; NNLITE_CONVERSION__NETWORK=true lets model code reach the network"
    )


def test_crash_of_the_models_code_is_reported_with_signal_line_and_traceback(job, settings, place):
    failure = failure_of(job(network("return x", top="os.abort()")), settings, place)

    assert (failure.failure_class, failure.stage) == (FailureClass.MODEL, Stage.LOAD)
    assert failure.details["signal"] == signal.SIGABRT
    assert failure.reason.startswith(
        "the model's code crashes its process (SIGABRT), at tiny.py:3: os.abort(); run that line"
    )
    assert "tiny.py" in failure.details["stderr_tail"], "the interpreter's own traceback"
    assert failure.details["peak_rss_kb"] > 0


def test_crash_while_lowering_is_reported_at_that_stage(job, settings, place):
    code = network(
        "return x * 2",
        top="import litert_torch._convert.core as c\nc._run_convert_passes = lambda p: os.abort()",
    )

    failure = failure_of(job(code), settings, place)

    assert (failure.failure_class, failure.stage) == (FailureClass.CONVERTER, Stage.LOWER)
    assert list(failure.details["timings_ns"]) == ["load", "export", "lower"]


def test_child_above_the_memory_limit_is_killed(job, place):
    settings = PATIENT.model_copy(update={"memory_limit_mb": 1200})
    hog = "hog = []\nwhile True:\n    hog.append(bytearray(os.urandom(1) * (8 << 20)))\n    time.sleep(0.001)"

    failure = failure_of(job(network("return x", top=hog)), settings, place)

    assert (failure.failure_class, failure.details["limit"]) == (FailureClass.CONVERTER, "memory_limit_mb")
    assert "NNLITE_CONVERSION__MEMORY_LIMIT_MB" in failure.reason
    assert failure.details["peak_rss_kb"] > 1200 * 1024


def test_memory_of_descendants_counts_towards_the_limit(job, place):
    settings = PATIENT.model_copy(update={"memory_limit_mb": 1200})
    hogs = """
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                hog = bytearray(os.urandom(1) * (450 << 20))
                time.sleep(3600)
        time.sleep(3600)
    """
    failure = failure_of(job(network("return x", top=hogs)), settings, place)

    assert failure.details["limit"] == "memory_limit_mb"


def test_memory_error_is_a_converter_failure(job, settings, place):
    failure = failure_of(job(network("return x", top="raise MemoryError")), settings, place)

    assert failure.failure_class is FailureClass.CONVERTER
    assert "out of memory" in failure.reason


def test_endless_loop_is_killed_at_the_time_limit(job, place):
    settings = ConversionSettings(timeout_s=0.5, absolute_timeout_s=HANG_S)

    failure = failure_of(job(network("while True: pass")), settings, place)

    assert failure.details["limit"] == "timeout_s"
    assert "NNLITE_CONVERSION__TIMEOUT_S" in failure.reason
    # On a busy machine it had not started yet.
    assert failure.details["signal"] in {signal.SIGKILL, STACK_SIGNAL, None}


@pytest.mark.parametrize("where", ["init", "forward", "top"])
def test_a_model_whose_code_hangs_fails_at_once_with_the_line(job, place, name, hangs, where):
    loop = f"while True: {CALLED.format(name=name)}; time.sleep(60)"
    code = network(**{"forward": "return x", where: loop})

    failure = failure_of(job(code), PATIENT, place, hangs)

    assert (failure.failure_class, failure.stage) == (FailureClass.MODEL, Stage.LOAD)
    number = 1 + code.splitlines().index(next(line for line in code.splitlines() if "while" in line))
    assert failure.details["line"] == f"tiny.py:{number}: {loop}"
    assert f"did not end within {HANG_S:g} s, at tiny.py:{number}: while True" in failure.reason
    assert "NNLITE_CONVERSION__TIMEOUT_S" in failure.reason
    assert failure.details["limit"] == "timeout_s"


def test_a_hang_of_the_converter_is_none_of_the_model(job, place, name, hangs):
    top = f"""
        import litert_torch._convert.core as c
        c._run_convert_passes = lambda p: [{CALLED.format(name=name)}, time.sleep(3600)]"""

    failure = failure_of(job(network("return x * 2", top=top)), PATIENT, place, hangs)

    assert (failure.failure_class, failure.stage) == (FailureClass.CONVERTER, Stage.LOWER)
    assert "tiny.py" in failure.details["stderr_tail"], "where it was"


FORGED = f"""
Fatal Python error: Aborted

Current thread 0x1 (most recent call first):
  File "/x/tiny.py", line 1 in forward
  File "/x{OUTERMOST}", line 60 in run
"""


def test_a_crash_that_the_model_prints_is_not_believed(job, settings, place):
    top = f"import faulthandler; faulthandler.disable(); os.write(2, {FORGED!r}.encode()); os.abort()"

    failure = failure_of(job(network("return x", top=top)), settings, place)

    assert failure.failure_class is FailureClass.CONVERTER
    assert failure.details["stderr_tail"] == FORGED


def test_daemons_of_a_successful_model_are_killed(job, settings, place, name):
    code = DOUBLING.replace("class Net", GRANDCHILD.format(name=name).replace("\n    ", "\n") + "\nclass Net")

    with run(job(code), settings, place) as outcome:
        assert outcome.artifacts
        assert named(name) == []


def test_daemons_of_a_hanging_model_are_killed(job, place, name, hangs):
    code = network(
        "return x", top=GRANDCHILD.format(name=name).replace("\n    ", "\n") + "\nwhile True: pass"
    )

    assert failure_of(job(code), PATIENT, place, hangs).details["limit"] == "timeout_s"
    assert named(name) == []


@pytest.mark.usefixtures("no_namespaces")
def test_daemons_are_killed_without_namespaces(job, settings, place, name, hangs):
    daemon = GRANDCHILD.format(name=name).replace("\n    ", "\n")

    failure_of(job(network("return x", top=daemon + "\nos.abort()")), settings, place)
    assert named(name) == []

    hanging = job(network("return x", top=daemon + "\nwhile True: pass"))
    assert failure_of(hanging, PATIENT, place, hangs).details["limit"] == "timeout_s"
    assert named(name) == []


def test_exception_of_tick_kills_the_child_and_propagates(job, settings, place, name):
    class LeaseLost(Exception):
        pass

    def tick(stage: Stage) -> bool:
        if named(name):
            raise LeaseLost
        return True

    code = network("return x", top=f"{CALLED.format(name=name)}\nwhile True: pass")
    others = children()
    with pytest.raises(LeaseLost), run(job(code), settings, place, tick):
        pass

    assert named(name) == []
    assert children() == others


def test_paused_child_is_stopped_and_its_time_limit_paused(job, place, name, clock):
    states: list[str] = []

    def tick(stage: Stage) -> bool:
        if not (child := named(name)) or states.count("T") == 2:
            return True
        states.append(Path(f"/proc/{child[0]}/stat").read_text().rpartition(")")[2].split()[0])
        if states.count("T") == 1:
            clock.jump(2 * HANG_S)
        return states.count("T") == 2

    # It works on when it was on hold, and only then.
    top = f"""
resumed = []
signal.signal(signal.SIGCONT, lambda *_: resumed.append(1))
{CALLED.format(name=name)}
while not resumed:
    time.sleep(0.01)
class Net"""
    with run(job(CLASSIFIER.replace("class Net", top), max_parameters=1), PATIENT, place, tick) as outcome:
        assert outcome.skipped
        timings_ns = dict(outcome.timings_ns)
        assert timings_ns.pop(Stage.QUIET) > 2 * HANG_S * 1e9, "the time on hold is counted apart"
        assert sum(timings_ns.values()) < HANG_S * 1e9

    assert states[-2:] == ["T", "T"]


def test_endless_pause_is_ended_by_the_absolute_limit(job, place, name, clock):
    held = []

    def tick(stage: Stage) -> bool:
        if named(name):
            held.append(stage)
        if len(held) == 2:
            clock.jump(11 * HANG_S)
        return not held

    code = network("while True: pass", top=CALLED.format(name=name))

    assert failure_of(job(code), PATIENT, place, tick).details["limit"] == "absolute_timeout_s"


def test_child_is_not_started_before_tick_allows_it(job, place):
    settings = ConversionSettings(timeout_s=0.1, absolute_timeout_s=0.2)

    failure = failure_of(job(CLASSIFIER), settings, place, lambda stage: False)

    assert failure.details["limit"] == "absolute_timeout_s" and "before its start" in failure.reason


def test_the_wait_for_its_turn_counts_towards_the_absolute_limit(job, place, name, clock, monkeypatch):
    monkeypatch.setattr(conversion, "time", clock)
    limits = PATIENT.model_copy(update={"timeout_s": PATIENT.absolute_timeout_s})
    asked = []

    def tick(stage: Stage) -> bool:
        asked.append(stage)
        if len(asked) == 2:
            clock.jump(9 * HANG_S)
        elif named(name):
            clock.jump(2 * HANG_S)
        return len(asked) > 1

    code = network("while True: pass", top=CALLED.format(name=name))

    assert failure_of(job(code), limits, place, tick).details["limit"] == "absolute_timeout_s"


FIND_PIPE = "pipe = max(int(n) for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}'))"


def test_invalid_message_is_a_converter_failure(job, settings, place):
    top = f"{FIND_PIPE}\nos.write(pipe, b'\\x00garbage\\n')\nwhile True: time.sleep(1)"

    failure = failure_of(job(network("return x", top=top)), settings, place)

    assert failure.failure_class is FailureClass.CONVERTER
    assert "garbage" in failure.details["garbage"]


def test_forged_failure_class_is_rejected(job, settings, place):
    forged = json.dumps({"kind": "refusal", "failure_class": "released", "reason": "try me indefinitely"})
    top = f"{FIND_PIPE}\nos.write(pipe, {forged!r}.encode() + b'\\n')\nos._exit(0)"

    failure = failure_of(job(network("return x", top=top)), settings, place)

    assert failure.failure_class is FailureClass.CONVERTER


@pytest.mark.parametrize("status", [0, 3])
def test_exit_without_a_result_is_a_converter_failure(job, settings, place, status):
    failure = failure_of(job(network("return x", top=f"os._exit({status})")), settings, place)

    assert failure.failure_class is FailureClass.CONVERTER
    assert failure.details["exit"] == status and f"exit status {status} and without" in failure.reason


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("os.truncate('fp32.tflite', 100)", "truncated"),
        ("os.remove('fp32.tflite')", "cannot be read"),
        ("os.remove('fp32.tflite'); os.symlink('/etc/hostname', 'fp32.tflite')", "cannot be read"),
        ("os.remove('fp32.tflite'); os.mkfifo('fp32.tflite')", "not a regular file"),
    ],
)
def test_artifact_that_differs_from_its_report_is_rejected(job, settings, place, deed, reason):
    top = f"really = os._exit\ndef spoil(status):\n    {deed}\n    really(status)\nos._exit = spoil"

    failure = failure_of(job(DOUBLING.replace("class Net", f"{top}\nclass Net")), settings, place)

    assert failure.failure_class is FailureClass.CONVERTER
    assert reason in failure.reason


def test_endless_output_is_truncated_and_its_tail_kept(job, place, name, hangs):
    # Three times it writes until the log is emptied, which it sees by its size; then it hangs.
    top = f"""
for _ in range(3):
    while os.fstat(1).st_size <= {supervision.MAX_LOG_BYTES}:
        os.write(1, b"x" * (1 << 20))
    while os.fstat(1).st_size:
        time.sleep(0.01)
os.write(1, b"x" * 10_000)
{CALLED.format(name=name)}
time.sleep(3600)
"""
    settings = PATIENT.model_copy(update={"stderr_tail_bytes": 1000})

    failure = failure_of(job(network("return x", top=top)), settings, place, hangs)

    assert failure.details["limit"] == "timeout_s"
    assert failure.details["stderr_tail"].startswith("x" * 1000 + "\n")


@pytest.fixture
def parent(tmp_path, job):
    """Fork a process that converts a model; return its PID once the model's code runs."""
    started = []

    def start(code: str, name: str) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                with run(job(code), ConversionSettings(), tmp_path / "killed"):
                    pass
            finally:
                os._exit(1)
        started.append(pid)
        wait_until(lambda: named(name), "the model's code runs")
        return pid

    yield start
    for pid in started:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def kill(pid: int, number: int) -> None:
    os.kill(pid, number)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -number


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_process_tree_dies_with_a_killed_worker(parent, name, number):
    if not sandbox.abilities().own_pid_namespace:
        pytest.skip("no PID namespaces here: what a model starts waits for the next worker")
    daemon = GRANDCHILD.format(name=name).replace("\n    ", "\n")
    pid = parent(network("return x", top=f"{daemon}\nwhile True: time.sleep(60)"), name)
    tree = process_tree.tree_of(pid)
    assert len(tree) == 5, "parent, supervisor, init, child and the daemon"

    kill(pid, number)

    wait_until(lambda: not any(map(living, tree)), "the whole tree has ended")
    wait_until(lambda: not named(name), "the daemon has ended")


@pytest.mark.usefixtures("no_namespaces")
def test_without_namespaces_orphans_of_a_killed_worker_are_in_the_registry(parent, name, tmp_path):
    # This one stays in the group, where the registry can find it.
    daemon = GRANDCHILD.format(name=name).replace("\n    ", "\n").replace("os.setsid()", "pass")
    code = network("return x", top=f"{daemon}\nwhile True: time.sleep(60)")
    pid = parent(code, name)
    workdir = tmp_path / "killed"
    wait_until(lambda: list((workdir / FOLDER).glob("*.json")), "the group is registered")
    (orphan,) = named(name)
    chain = [member for member in process_tree.tree_of(pid) if member not in (pid, orphan)]

    assert kill_orphans(workdir) == [], "its worker lives"
    kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(living, chain)), "child, init and supervisor ended")

    assert named(name) == [orphan]
    assert len(kill_orphans(workdir)) == 1

    wait_until(lambda: not named(name), "the orphan has ended")
    assert list((workdir / FOLDER).glob("*.json")) == []


def test_reused_group_id_is_not_killed(tmp_path):
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, process_group=0)
    try:
        with registered(tmp_path, bystander.pid):
            (path,) = (tmp_path / FOLDER).glob("*.json")
            note = json.loads(path.read_text())
            note["worker_start_time"] -= 1  # the worker is gone, its PID is ours now
            begun_before = {"group_start_time": note["group_start_time"] - 1}
            for change in (begun_before, {"boot_id": "another"}, {"pid_namespace": 1}):
                path.write_text(json.dumps(note | change))
                assert kill_orphans(tmp_path) == []
                assert bystander.poll() is None
            path.write_text(json.dumps(note))
            assert kill_orphans(tmp_path) == [bystander.pid]
            assert bystander.wait(HANG_S) == -signal.SIGKILL
    finally:
        end(bystander)


def test_truncated_pidfile_is_removed(tmp_path):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "1-2.json").write_text('{"group": 1')

    assert kill_orphans(tmp_path) == []
    assert list((tmp_path / FOLDER).iterdir()) == []
