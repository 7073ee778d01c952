"""`nnlite run` as a user runs it: three real models and three hostile ones, through the real queue."""

import csv
import io
import signal
from typing import Any

from end_to_end.conftest import HOSTILE, REAL, Machine

#: Runs until its limit ends it.
SLEEPER = "Sleeper"
QUICKLY_HOSTILE = tuple(name for name in HOSTILE if name != SLEEPER)
ALL = (*REAL, *QUICKLY_HOSTILE)


def test_hostile_models_end_in_their_class_and_the_others_are_measured(machine: Machine) -> None:
    done = machine.run("run", *ALL, "--name", "mixed")
    assert done.returncode == 0, done.stderr + machine.logs()
    for model in ALL:
        assert model in done.stdout
    assert "5/5 models" in done.stderr

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
    table = machine.run("results", "mixed", "--format", "csv").stdout
    assert len(list(csv.DictReader(io.StringIO(table)))) == 3

    _run_again_starts_no_worker(machine)
    _another_campaign_measures_from_the_cache_and_one_that_hangs_is_ended_at_its_limit(machine)


def _failures(machine: Machine, campaign: str) -> dict[str, dict[str, Any]]:
    """The failures of a campaign by model, all in the state that hostile models end in."""
    failures = {row["model"]: row for row in machine.json("failures", campaign)}
    for row in failures.values():
        assert (row["class"], row["state"], row["strikes"]) == ("converter", "quarantined", 2)
        assert row["stage"] == "load"
    return failures


def _run_again_starts_no_worker(machine: Machine) -> None:
    log = (machine.home / "logs" / "convert.log").read_text()
    again = machine.run("run", *ALL, "--name", "mixed")
    assert again.returncode == 0, again.stderr
    assert "resumed campaign mixed" in again.stderr
    assert (machine.home / "logs" / "convert.log").read_text() == log


def _another_campaign_measures_from_the_cache_and_one_that_hangs_is_ended_at_its_limit(
    machine: Machine,
) -> None:
    """With models that need no conversion: to wait for a limit, it is too short for one on a slow machine."""
    done = machine.run("run", SLEEPER, *REAL, "--name", "hanging", NNLITE_CONVERSION__TIMEOUT_S="5")
    assert done.returncode == 0, done.stderr
    failures = _failures(machine, "hanging")
    assert set(failures) == {SLEEPER}
    assert "5 s" in failures[SLEEPER]["reason"]
    (status,) = machine.json("status", "hanging")
    assert (status["from_cache"], status["measured"]) == (3, 3)


def test_a_killed_or_stopped_run_leaves_nothing_behind_and_the_same_command_resumes(machine: Machine) -> None:
    command = ("run", *REAL[1:], "--name", "night")
    run = machine.start(*command)
    machine.wait_for("a conversion runs", machine.children)
    run.kill()
    machine.wait_for("nothing is left", lambda: not machine.processes())

    run = machine.start(*command)
    machine.wait_for("a conversion runs", machine.children)
    run.signal(signal.SIGINT)
    stopped = run.wait()
    assert stopped.returncode == 130, stopped.stderr
    assert "the same command resumes" in stopped.stderr
    assert machine.processes() == []

    done = machine.run(*command)
    assert done.returncode == 0, done.stderr
    (status,) = machine.json("status", "night")
    assert (status["measured"], status["failed"]) == (2, 0)
    assert {"released", "done"} <= set(machine.sql("SELECT DISTINCT outcome FROM attempt"))
