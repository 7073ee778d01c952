"""The filter that takes the network from a process: `nnlite_conversion.isolation.seccomp`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nnlite_conversion.isolation import sandbox, seccomp
from waiting import HANG_S

PROGRAMS = Path(__file__).parent / "programs"
#: Runs Python as on another kernel.
OTHER_KERNEL = PROGRAMS / "other_kernel.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments to its end."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)


@pytest.mark.process
@pytest.mark.parametrize("kernel", [(), (OTHER_KERNEL, "no-flags")], ids=["this kernel", "no flags"])
def test_a_process_without_network_and_all_that_it_starts_open_local_sockets_only(kernel):
    done = run(*kernel, PROGRAMS / "open_sockets.py")

    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert {"AF_UNIX", "AF_INET"} <= set(found["before"])
    assert found["opened"] == ["AF_UNIX"]
    assert found["opened by a program"] == ["AF_UNIX"]
    # Without the filter, too, both fail: with EFAULT, and on most kernels with ENOSYS.
    assert found["io_uring"] == found["foreign ABI"] == "EAFNOSUPPORT"


@pytest.mark.process
@pytest.mark.parametrize("kernel", [(), (OTHER_KERNEL, "native")], ids=["this kernel", "killed for a call"])
def test_a_filter_that_refuses_all_there_is_or_kills_for_it_is_no_problem(kernel):
    done = run(*kernel, "-m", "nnlite_conversion.isolation.sandbox")

    assert json.loads(done.stdout)["network_problem"] is None


@pytest.mark.process
def test_a_filter_that_the_kernel_does_not_hold_is_seen():
    done = run(OTHER_KERNEL, "ignores", "-m", "nnlite_conversion.isolation.sandbox")

    problem = json.loads(done.stdout)["network_problem"]
    assert "the kernel does not hold the seccomp filter and permits socket(AF_INET), " in problem
    assert "io_uring_setup" in problem and "socket of a foreign ABI" in problem
    assert "CONFIG_SECCOMP_FILTER" in problem and "NNLITE_CONVERSION__NETWORK_FILTER=false" in problem


@pytest.mark.parametrize(
    ("interfaces", "filter_required", "says"),
    [
        ([], True, "set NNLITE_CONVERSION__NETWORK_FILTER=false where conversions have no network interface"),
        (["eth0"], True, "set NNLITE_CONVERSION__NETWORK_FILTER=false where"),
        (["eth0", "wg0"], False, "take away the network interfaces, .* needs: eth0, wg0;"),
    ],
)
def test_without_a_filter_only_a_process_without_interfaces_goes_on_if_it_is_permitted(
    monkeypatch, interfaces, filter_required, says
):
    monkeypatch.setattr(seccomp.platform, "machine", lambda: "riscv64")
    monkeypatch.setattr(sandbox, "_network_interfaces", lambda: interfaces)

    with pytest.raises(sandbox.NetworkOpenError, match=rf"no filter for riscv64\) and permits .*{says}"):
        sandbox.leave_network(filter_required=filter_required)

    monkeypatch.setattr(sandbox, "_network_interfaces", list)
    sandbox.leave_network(filter_required=False)


def test_an_unknown_architecture_is_said_and_not_filtered_by_the_numbers_of_another(monkeypatch):
    monkeypatch.setattr(seccomp.platform, "machine", lambda: "riscv64")

    with pytest.raises(OSError, match="no filter for riscv64"):
        seccomp.forbid_network()
