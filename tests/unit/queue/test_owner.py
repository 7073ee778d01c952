"""An owner is one process of all that ever ran; whether it is dead is only said where it can be seen."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nnlite.host.processes import start_ticks
from nnlite.queue.owner import Instance


@pytest.fixture
def process():
    """A process that runs until it is asked to end."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def instance_of(process: subprocess.Popen) -> Instance:
    return replace(Instance.current(), pid=process.pid, start_time=start_ticks(process.pid))


@pytest.mark.parametrize("host", ["lab-7", "a/b", "häuschen.local", ""])
def test_an_instance_is_read_back_as_it_was_written(host):
    instance = Instance(host=host, boot="0b0e9107-a5c3", pid_namespace=4026531836, pid=17, start_time=123)
    assert Instance.parse(str(instance)) == instance


def test_an_instance_without_a_boot_is_never_in_sight():
    assert not Instance.parse("lab/4026531836/17/123").in_sight


def test_this_process_is_alive():
    assert not Instance.current().is_dead()


@pytest.mark.process
def test_a_process_is_dead_from_its_end_on(process):
    instance = instance_of(process)
    assert not instance.is_dead()
    process.communicate(b"\n")
    assert instance.is_dead()


@pytest.mark.process
def test_a_zombie_is_dead(process):
    instance = instance_of(process)
    process.kill()
    assert _state_when_ended(process.pid) == "Z"
    assert instance.is_dead()


@pytest.mark.process
def test_a_process_that_got_the_pid_of_a_dead_one_is_not_taken_for_it(process):
    dead = replace(instance_of(process), start_time=instance_of(process).start_time - 1)
    assert dead.is_dead()


@pytest.mark.process
@pytest.mark.parametrize("elsewhere", [{"boot": "another"}, {"boot": ""}, {"pid_namespace": 1}])
def test_a_process_that_cannot_be_seen_from_here_is_not_said_to_be_dead(process, elsewhere):
    gone = replace(instance_of(process), **elsewhere)
    process.communicate(b"\n")
    assert not gone.is_dead()


def test_another_life_of_a_container_is_another_instance():
    """Same host name, same PID, and the kernel gave the number of the namespace again."""
    now = Instance.current()
    before = replace(now, start_time=now.start_time - 1)
    assert before != now
    assert before.is_dead() and not now.is_dead()


def test_a_container_of_the_same_name_on_another_machine_is_never_taken_for_ours():
    """Numbers of namespaces and PIDs are alike on all machines; their boots are not."""
    there = replace(Instance.current(), boot="another", start_time=1)
    assert not there.in_sight and not there.of_this_boot and not there.is_dead()


@pytest.mark.process
def test_the_start_time_is_found_whatever_the_process_is_called(tmp_path):
    program = tmp_path / "a) Z 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as process:
        try:
            assert start_ticks(process.pid) >= start_ticks(Instance.current().pid)
        finally:
            process.kill()


def _state_when_ended(pid: int) -> str:
    """Wait for the end of a child without taking its status, and return its state in /proc."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
