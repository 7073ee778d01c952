"""Reads which cores of an Android device are online, and the highest frequency of each."""

from collections.abc import Mapping
from typing import Final

from nnlite_benchmark.android.properties.analytics import CPUS, frequencies_khz
from nnlite_benchmark.android.properties.parsers import ShellOutput, numbers_of_cpu_list, one_line, run_batch

_COMMANDS: Final = {
    "online": f"cat {CPUS}/online",
    "highest": f"grep -s . {CPUS}/cpu[0-9]*/cpufreq/cpuinfo_max_freq /dev/null",
}


def highest_khz(shell_output: ShellOutput) -> Mapping[int, int | None]:
    """Return each core that is online and the highest frequency that it has, kHz; None: it does not say.

    Raises:
        Failure: whatever `shell_output` raises.
    """
    outputs = run_batch(shell_output, _COMMANDS)
    known = frequencies_khz(outputs["highest"])
    cores = numbers_of_cpu_list(one_line(outputs["online"])) or tuple(range(len(known)))
    return {core: known[core] if core < len(known) else None for core in cores}
