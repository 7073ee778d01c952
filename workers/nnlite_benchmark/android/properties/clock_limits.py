"""Tells whether the clocks are locked, which needs root: lowest and highest frequency are equal."""

import re
from typing import Final

_LIMIT: Final = re.compile(r"\S*/cpu(\d{1,4})/cpufreq/scaling_(min|max)_freq:(\d{1,10})\s*", re.ASCII)


def are_locked(text: str) -> bool | None:
    """Parse lines `PATH/cpuN/cpufreq/scaling_min_freq:KHZ` and `..._max_freq:KHZ`, as grep prints them.

    None: no core tells both, as on emulators.
    """
    limits: dict[str, dict[int, int]] = {"min": {}, "max": {}}
    for line in text.splitlines():
        if match := _LIMIT.fullmatch(line):
            limits[match[2]].setdefault(int(match[1]), int(match[3]))
    cores = limits["min"].keys() & limits["max"].keys()
    return all(limits["min"][core] == limits["max"][core] for core in cores) if cores else None
