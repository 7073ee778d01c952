"""Which logical processors measure and which convert; every process of a machine gets the same answer."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nnlite.settings import Settings, SettingsError
from nnlite.vocabulary import QuietMode

#: From this many logical processors on, cores are kept apart.
CORES_TO_SPLIT: Final = 4
MEASURING: Final = "NNLITE_MEASUREMENT__CORES"
CONVERTING: Final = "NNLITE_CONVERSION__CORES"
TOPOLOGY: Final = Path("/sys/devices/system/cpu")


@dataclass(frozen=True, kw_only=True)
class Cores:
    """Which logical processors measure and which convert."""

    mode: QuietMode
    measuring: tuple[int, ...]
    converting: tuple[int, ...]


def cores_of(settings: Settings) -> Cores:
    """Return the cores that the settings name, or that fit the machine; see `choose_cores`."""
    return choose_cores(settings.measurement.cores, settings.conversion.cores)


def choose_cores(
    measuring: str = "",
    converting: str = "",
    available: Collection[int] | None = None,
    topology: Path = TOPOLOGY,
) -> Cores:
    """Return the machine's cores for measuring and for converting; every process gets the same answer.

    Whole physical cores are given, so that a conversion never shares one with
    a measurement, which runs on one thread of each of its own. A container that
    is kept to some of the machine's cores does not see which the others have:
    there both settings say it.

    Args:
        measuring: `settings.measurement.cores`, such as `2,3` or `4-7`; empty: the last half of the
            machine's cores, where it has at least four.
        converting: `settings.conversion.cores`; empty: all others.
        available: the logical processors to choose from; default: those of this process.
        topology: where Linux says which of them share a physical core.

    Raises:
        SettingsError: a setting names a core that this process may not use, or is no list of cores; or
            the two share one.
    """
    usable = sorted(available if available is not None else available_cores())
    wanted = _parsed(MEASURING, measuring)
    if given := _parsed(CONVERTING, converting):
        return _cores_given(wanted, given, usable, topology)
    if missing := [core for core in wanted if core not in usable]:
        raise SettingsError(f"{MEASURING}={measuring}: no core {missing[0]} here; use {_listed(usable)}")
    units = _physical(usable, topology)
    if wanted:
        measuring_units = [unit for unit in units if set(unit) & set(wanted)]
    else:
        measuring_units = units[(len(units) + 1) // 2 :]
        wanted = [unit[0] for unit in measuring_units]
    others = tuple(core for unit in units if unit not in measuring_units for core in unit)
    if len(usable) < CORES_TO_SPLIT or not wanted or not others:
        turns = tuple(wanted) if measuring.strip() else tuple(usable)
        return Cores(mode=QuietMode.TIME_SLICED, measuring=turns, converting=tuple(usable))
    return Cores(mode=QuietMode.PINNED_CORES, measuring=tuple(wanted), converting=others)


def _cores_given(measuring: list[int], converting: list[int], usable: list[int], topology: Path) -> Cores:
    named = f"{MEASURING}={_listed(measuring)} and {CONVERTING}={_listed(converting)}"
    if not measuring:
        raise SettingsError(f"{CONVERTING}={_listed(converting)} needs {MEASURING} beside it; set both")
    for unit in _physical(sorted({*measuring, *converting}), topology):
        if set(unit) & set(measuring) and set(unit) & set(converting):
            raise SettingsError(f"{named} share the physical core of {_listed(unit)}; give it to one of them")
    if not set(measuring) <= set(usable) and not set(converting) <= set(usable):
        raise SettingsError(f"{named}: this process has neither, only {_listed(usable)}")
    return Cores(mode=QuietMode.PINNED_CORES, measuring=tuple(measuring), converting=tuple(converting))


def keep_to(cores: Collection[int]) -> None:
    """Run this process, and what it starts, on `cores` alone.

    Raises:
        SettingsError: it may use none of them.
    """
    try:
        os.sched_setaffinity(0, cores)
    except OSError as error:
        raise SettingsError(
            f"cores {_listed(cores)} cannot be used here, only {_listed(sorted(available_cores()))}: "
            f"see {MEASURING} and {CONVERTING}"
        ) from error


def available_cores() -> set[int]:
    """Return the logical processors that this process may use; all, where the OS does not say."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _physical(cores: list[int], topology: Path) -> list[tuple[int, ...]]:
    """Group logical processors by the physical core that they share, in order."""
    groups: dict[str, list[int]] = {}
    for core in cores:
        siblings = topology / f"cpu{core}/topology/thread_siblings_list"
        try:
            key = siblings.read_text().strip()
        except OSError:
            key = str(core)
        groups.setdefault(key, []).append(core)
    return [tuple(group) for group in groups.values()]


def _parsed(variable: str, setting: str) -> list[int]:
    cores: set[int] = set()
    try:
        for part in filter(None, (piece.strip() for piece in setting.split(","))):
            first, _, last = part.partition("-")
            cores.update(range(int(first), int(last or first) + 1))
    except ValueError as error:
        raise SettingsError(f"{variable}={setting}: write cores as 2,3 or 4-7") from error
    return sorted(cores)


def _listed(cores: Collection[int]) -> str:
    return ",".join(str(core) for core in cores)
