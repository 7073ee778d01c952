"""`nnlite run` as a user runs it: three real models and three hostile ones, through the real queue."""

import signal
from typing import Any

from end_to_end.conftest import HOSTILE, REAL, Machine

#: Runs until its limit ends it.
SLEEPER = "Sleeper"
QUICKLY_HOSTILE = tuple(name for name in HOSTILE if name != SLEEPER)
ALL = (*REAL, *QUICKLY_HOSTILE)


def test_campaigns_on_one_machine(machine: Machine) -> None:
    """In one test: each command that converts starts workers, which takes far longer than all else."""
    _a_killed_run_leaves_nothing_running(machine)
    _the_same_command_measures_every_model_but_the_hostile_ones(machine)
    _run_again_starts_no_worker(machine)
    _a_stopped_run_gives_back_what_it_has_in_hand(machine)
    _the_same_command_measures_from_the_cache_and_ends_a_conversion_at_its_limit(machine)


def _a_killed_run_leaves_nothing_running(machine: Machine) -> None:
    run = machine.start("run", *ALL, "--name", "mixed")
    machine.wait_for("a conversion runs", machine.children)
    run.kill()
    machine.wait_for("nothing is left", lambda: not machine.processes())


def _the_same_command_measures_every_model_but_the_hostile_ones(machine: Machine) -> None:
    done = machine.run("run", *ALL, "--name", "mixed")
    assert done.returncode == 0, done.stderr + machine.logs()
    assert "resumed campaign mixed" in done.stderr
    for model in ALL:
        assert model in done.stdout
    assert "5/5 models" in done.stderr
    outcomes = set(machine.sql("SELECT DISTINCT outcome FROM attempt WHERE kind = 'conversion'"))
    assert outcomes & {"lost", "released"}, "killed, then done"
    assert outcomes - {"lost", "released"} == {"done", "converter", "model"}

    failures = _failures(machine, "mixed")
    assert set(failures) == set(QUICKLY_HOSTILE)
    assert failures["Crasher"]["details"]["signal"] == signal.SIGABRT
    assert "memory" in failures["Hog"]["reason"]

    results = {row["model"]: row for row in machine.json("results", "mixed")}
    assert set(results) == set(REAL)
    for row in results.values():
        assert row["kind"] == "host"
        assert row["parity_state"] == "ok"
        assert row["runs"] >= 50
        assert row["median_ns"] > 0
        assert (machine.home / "artifacts" / f"{row['artifact_sha256'][:2]}").is_dir()


def _failures(machine: Machine, campaign: str) -> dict[str, dict[str, Any]]:
    """The failures of a campaign by model, all in the state that hostile models end in.

    Limits of memory may be the machine's fault: two strikes. A crash or a hang of the model's own code is
    the model's.
    """
    failures = {row["model"]: row for row in machine.json("failures", campaign)}
    for name, row in failures.items():
        end = ("converter", "quarantined", 2) if name == "Hog" else ("model", "failed", 0)
        assert (row["class"], row["state"], row["strikes"]) == end
        assert row["stage"] == "load"
    return failures


def _run_again_starts_no_worker(machine: Machine) -> None:
    log = (machine.home / "logs" / "convert.log").read_text()
    again = machine.run("run", *ALL, "--name", "mixed")
    assert again.returncode == 0, again.stderr
    assert "resumed campaign mixed" in again.stderr
    assert (machine.home / "logs" / "convert.log").read_text() == log


def _a_stopped_run_gives_back_what_it_has_in_hand(machine: Machine) -> None:
    run = machine.start("run", SLEEPER, *REAL, "--name", "hanging")
    machine.wait_for("the endless conversion runs", machine.children)
    run.signal(signal.SIGINT)
    stopped = run.wait()
    assert stopped.returncode == 130, stopped.stderr
    assert "the same command resumes" in stopped.stderr
    assert machine.processes() == []
    assert "released" in machine.sql("SELECT DISTINCT outcome FROM attempt")


def _the_same_command_measures_from_the_cache_and_ends_a_conversion_at_its_limit(machine: Machine) -> None:
    """The limit is too short for a conversion on a slow machine: only one that hangs is left to do."""
    command = ("run", SLEEPER, *REAL, "--name", "hanging")
    done = machine.run(*command, NNLITE_CONVERSION__TIMEOUT_S="10")
    assert done.returncode == 0, done.stderr
    assert "4/4 models, 3 converted (3 cached), 3 measured, 1 failed" in done.stderr
    failures = _failures(machine, "hanging")
    assert set(failures) == {SLEEPER}
    assert "within 10 s" in failures[SLEEPER]["reason"]
    assert "time.sleep(3600)" in failures[SLEEPER]["reason"]
