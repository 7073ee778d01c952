"""Converts networks to fp32 and int8, one after another, and keeps what came out.

Shared by `architectures` and `lemur_coverage`.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson

from nnlite.errors import Failure
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import Precision
from nnlite_conversion.isolation.conversion import convert
from nnlite_conversion.outcome import ConversionJob, ConversionOutcome
from nnlite_conversion.preload import preload

PRECISIONS = (Precision.FP32, Precision.INT8)
#: As 32-bit floats these have 2 GB, where the format ends.
MAX_PARAMETERS = 500_000_000

#: `network`, its name, `states`: state and reason of each precision, and `revision`: the commit that ran it.
Result = dict[str, Any]


def convert_all(
    names: Iterable[str],
    job_of: Callable[[str], ConversionJob],
    kept: Path,
    settings: ConversionSettings | None = None,
) -> dict[str, Result]:
    """Convert what has no result yet; return all results in the order of `names`.

    Args:
        names: names of the networks.
        job_of: returns the job of a network, to `PRECISIONS`.
        kept: results are appended here as they arrive, so that the next call goes on where this one stopped.
        settings: limits of a conversion.
    """
    kept.parent.mkdir(parents=True, exist_ok=True)
    results = kept_results(kept)
    left = [name for name in names if name not in results]
    if left:
        preload()
    with tempfile.TemporaryDirectory(prefix="nnlite-networks-") as folder, kept.open("ab") as file:
        place = Path(folder)
        place.chmod(0o755)  # model code runs as an account of its own
        for number, name in enumerate(left, 1):
            states = _converted(job_of(name), settings or ConversionSettings(), place)
            results[name] = {"network": name, "states": states, "revision": _revision()}
            file.write(orjson.dumps(results[name]) + b"\n")
            file.flush()
            shown = " ".join(state for state, _ in states.values())
            print(f"{number}/{len(left)} {name}: {shown}", file=sys.stderr, flush=True)
    return {name: results[name] for name in names}


def kept_results(kept: Path) -> dict[str, Result]:
    """Return the results in a file, by network; of several the last."""
    lines = kept.read_bytes().splitlines() if kept.exists() else []
    return {result["network"]: result for result in map(orjson.loads, lines)}


def by_revision(results: Iterable[Result]) -> str:
    """Return how many results are of which revision of nnlite, the most first."""
    counts = Counter(result["revision"] for result in results if "revision" in result)
    return ", ".join(f"{revision} ({count})" for revision, count in counts.most_common())


def _revision() -> str:
    command = ("git", "describe", "--always", "--exclude=*", "--dirty")
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def cell(text: str) -> str:
    """Return a text as a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _converted(job: ConversionJob, settings: ConversionSettings, place: Path) -> dict[str, list[str]]:
    try:
        with convert(job, settings, workdir=place, tick=lambda stage: True) as outcome:
            return _states(outcome)
    except Failure as failure:
        return {each.value: ["refused", failure.reason] for each in PRECISIONS}


def _states(outcome: ConversionOutcome) -> dict[str, list[str]]:
    if outcome.skipped is not None:
        return {each.value: ["skipped", outcome.skipped] for each in PRECISIONS}
    parities = {each.precision: each.parity for each in outcome.artifacts if each.parity}
    refused = {each.precision: each.reason for each in outcome.refused}
    return {
        each.value: [parities[each].state.value, parities[each].reason or ""]
        if each in parities
        else ["refused", refused[each]]
        for each in PRECISIONS
    }
