"""Assigns logical processors to measurements and conversions, identically in every process of a machine."""

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nnlite.settings import Settings, SettingsError
from nnlite.vocabulary import QuietMode

#: From this many logical processors on, measurements and conversions are pinned to different cores.
CORES_TO_SPLIT: Final = 4
MEASURING: Final = "NNLITE_MEASUREMENT__CORES"
CONVERTING: Final = "NNLITE_CONVERSION__CORES"
TOPOLOGY: Final = Path("/sys/devices/system/cpu")


@dataclass(frozen=True, kw_only=True)
class Cores:
    """The logical processors of measurements and of conversions."""

    mode: QuietMode
    measuring: tuple[int, ...]
    converting: tuple[int, ...]


def cores_of(settings: Settings) -> Cores:
    """Return the cores that the settings name, or the defaults of this machine; see `choose_cores`."""
    return choose_cores(settings.measurement.cores, settings.conversion.cores)


def choose_cores(
    measuring: str = "",
    converting: str = "",
    available: Collection[int] | None = None,
    topology: Path = TOPOLOGY,
) -> Cores:
    """Return the machine's cores for measuring and for converting; the result is the same in every process.

    Whole physical cores are assigned, so that a conversion never shares one with a measurement, which uses
    one thread of each of its cores. A container that is limited to some of the machine's cores does not see
    the cores of others: there both settings are needed.

    Args:
        measuring: `settings.measurement.cores`, such as `2,3` or `4-7`; empty: the last half of the
            machine's cores, if it has at least four.
        converting: `settings.conversion.cores`; empty: all others.
        available: the logical processors to choose from; default: those of this process.
        topology: sysfs folder that shows which of them share a physical core.

    Raises:
        SettingsError: a setting is no list of cores, or names a core that this process may not use, or both
            settings share a physical core.
    """
    usable = sorted(os.sched_getaffinity(0) if available is None else available)
    chosen = _parsed(MEASURING, measuring)
    if configured := _parsed(CONVERTING, converting):
        return _configured_cores(chosen, configured, usable, topology)
    if missing := [core for core in chosen if core not in usable]:
        raise SettingsError(f"{MEASURING}={measuring}: no core {missing[0]} here; use {_listed(usable)}")
    units = _physical(usable, topology)
    if chosen:
        measuring_units = [unit for unit in units if set(unit) & set(chosen)]
    else:
        measuring_units = units[(len(units) + 1) // 2 :]
        chosen = [unit[0] for unit in measuring_units]
    others = tuple(core for unit in units if unit not in measuring_units for core in unit)
    if len(usable) < CORES_TO_SPLIT or not chosen or not others:
        shared = tuple(chosen) if measuring.strip() else tuple(usable)
        return Cores(mode=QuietMode.TIME_SLICED, measuring=shared, converting=tuple(usable))
    return Cores(mode=QuietMode.PINNED_CORES, measuring=tuple(chosen), converting=others)


def _configured_cores(
    measuring: list[int], converting: list[int], usable: list[int], topology: Path
) -> Cores:
    named = f"{MEASURING}={_listed(measuring)} and {CONVERTING}={_listed(converting)}"
    if not measuring:
        raise SettingsError(f"{CONVERTING}={_listed(converting)} needs {MEASURING} as well; set both")
    for unit in _physical(sorted({*measuring, *converting}), topology):
        if set(unit) & set(measuring) and set(unit) & set(converting):
            raise SettingsError(f"{named} share the physical core of {_listed(unit)}; give it to one of them")
    if not set(measuring) <= set(usable) and not set(converting) <= set(usable):
        raise SettingsError(f"{named}: this process has neither, only {_listed(usable)}")
    return Cores(mode=QuietMode.PINNED_CORES, measuring=tuple(measuring), converting=tuple(converting))


#: Choices of cores besides numbers.
FAST, ALL = "fast", "all"


def canonical_choice(choice: str) -> str:
    """Return a choice of cores to measure on in one form: `fast`, `all`, or numbers such as `4,5,6,7`.

    Args:
        choice: one of the words, numbers such as `4-7` or `2,3`, or a mask such as `0xf0`.

    Raises:
        ValueError: it is none of these.
    """
    if choice in {FAST, ALL}:
        return choice
    numbers: list[int] = []
    if re.fullmatch(r"0x[0-9a-fA-F]{1,16}", choice):
        numbers = [bit for bit in range(64) if int(choice, 16) >> bit & 1]
    elif re.fullmatch(r"\d{1,3}(-\d{1,3})?(,\d{1,3}(-\d{1,3})?)*", choice, re.ASCII):
        numbers = _parsed(MEASURING, choice)
    if not numbers:
        raise ValueError(
            f"{choice} names no cores; write fast, all, numbers as 4-7 or 2,3, or a mask as 0xf0"
        )
    return _listed(numbers)


def chosen_cores(choice: str, highest_khz: Mapping[int, int | None]) -> tuple[int, ...]:
    """Return the cores that a choice in its canonical form means on a device, ascending.

    Args:
        choice: as `canonical_choice` returns it.
        highest_khz: of each core that may measure; None: not known.

    Raises:
        ValueError: the device has not all of them, or does not tell which ones are fast.
    """
    usable = sorted(highest_khz)
    if choice == ALL:
        return tuple(usable)
    if choice == FAST:
        known = [khz for khz in highest_khz.values() if khz is not None]
        if len(known) < len(usable) or not known:
            raise ValueError(
                f"which of the cores {_listed(usable)} are fast is not known; name them by number"
            )
        return tuple(core for core in usable if highest_khz[core] == max(known))
    asked = _parsed(MEASURING, choice)
    if missing := [core for core in asked if core not in highest_khz]:
        raise ValueError(f"there is no core {missing[0]} to measure on, only {_listed(usable)}")
    return tuple(asked)


def pin_to(cores: Collection[int]) -> None:
    """Pin this process and its children to `cores`.

    Raises:
        SettingsError: it may use none of them.
    """
    try:
        os.sched_setaffinity(0, cores)
    except OSError as error:
        raise SettingsError(
            f"cores {_listed(cores)} cannot be used here, only {_listed(sorted(os.sched_getaffinity(0)))}: "
            f"see {MEASURING} and {CONVERTING}"
        ) from error


def _physical(cores: list[int], topology: Path) -> list[tuple[int, ...]]:
    """Group logical processors by physical core, in order."""
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
