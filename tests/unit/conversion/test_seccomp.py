"""The filter that takes the network from a process: `nnlite_conversion.isolation.seccomp`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nnlite_conversion.isolation import seccomp
from waiting import HANG_S

PROGRAM = Path(__file__).parent / "programs" / "open_sockets.py"


@pytest.mark.process
def test_a_process_without_network_and_all_that_it_starts_open_local_sockets_only():
    done = subprocess.run(
        [sys.executable, PROGRAM], capture_output=True, text=True, timeout=HANG_S, check=False
    )

    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert {"AF_UNIX", "AF_INET"} <= set(found["before"])
    assert found["opened"] == ["AF_UNIX"]
    assert found["opened by a program"] == ["AF_UNIX"]
    # Without the filter, too, both fail: with EFAULT, and on most kernels with ENOSYS.
    assert found["io_uring"] == found["foreign ABI"] == "EAFNOSUPPORT"


def test_an_unknown_architecture_is_said_and_not_filtered_by_the_numbers_of_another(monkeypatch):
    monkeypatch.setattr(seccomp.platform, "machine", lambda: "riscv64")

    with pytest.raises(OSError, match="no filter for riscv64"):
        seccomp.forbid_network()
