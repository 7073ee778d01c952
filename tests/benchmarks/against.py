"""This checkout against an earlier revision: models per hour where everything is converted already.

The revision is installed in an environment of its own, with its own constraints, from the
package index. Each converts the same random LEMUR models in a home of its own; then they
measure all of them by turns, as `nnlite run` does, so that both meet the same other work.
`python tests/benchmarks/against.py [REVISION [MODELS [TURNS]]]` prints the figures; at the
end, and on Ctrl-C, everything is removed.
"""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Final

#: The last one before measurements were repeated, audited and given intervals.
REVISION: Final = "3b3a12df"
MODELS = 12
TURNS = 2
SEED = 11
_TIMEOUT_S = 3600
#: For a command to stop its workers and servers.
_STOP_S = 120
_EXTRAS = "convert,host,local"
#: One run of each model, where the revision has these settings.
_ONCE = {"noisy_repeats": "0", "audit_share": "0"}
_KNOWN = """
from nnlite.settings import Settings
print(*Settings.model_fields["measurement"].annotation.model_fields)
"""


@dataclass(frozen=True)
class Installation:
    """A revision, and the home in which it works."""

    name: str
    python: Path
    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def measure(self, campaign: str, *models: str) -> None:
        """Run a campaign of models that are named, or selected by options."""
        self._nnlite("run", *models, "--name", campaign)

    def measured(self, campaign: str) -> list[str]:
        """Return the names of the models that have a latency, sorted."""
        rows = csv.DictReader(self._nnlite("results", campaign, "--format", "csv").splitlines())
        return sorted({row["model"] for row in rows if row["median_ns"]})

    def _nnlite(self, *arguments: str) -> str:
        return finished([self.python, "-m", "nnlite.cli", *arguments], self.home, self._all_variables)

    @cached_property
    def _all_variables(self) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("NNLITE_")}
        if lemur := os.environ.get("NNLITE_LEMUR"):
            kept["NNLITE_LEMUR"] = str(Path(lemur).resolve())
        kept |= {"NNLITE_HOME": str(self.home), **self.environment}
        known = finished([self.python, "-c", _KNOWN], self.home, kept).split()
        return kept | {f"NNLITE_MEASUREMENT__{name.upper()}": _ONCE[name] for name in _ONCE if name in known}


def run(revision: str = REVISION, models: int = MODELS, turns: int = TURNS) -> dict[str, Any]:
    """Return the figures of both; everything is in a folder of its own.

    Args:
        revision: what `git` resolves in this checkout.
        models: number of random models.
        turns: how often each measures all of them.
    """
    with tempfile.TemporaryDirectory(prefix="nnlite-benchmark-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        python = installed(source_of(revision, place / "source"), place / "environment")
        installations = [
            Installation("then", python, place / "then"),
            Installation("now", Path(sys.executable), place / "now"),
        ]
        return {"revision": revision, **compared(installations, models, turns)}


def source_of(revision: str, folder: Path) -> Path:
    """Write the tracked files of a revision to a new folder and return it."""
    archive = folder.with_suffix(".tar")
    finished(["git", "archive", "--output", archive, revision], Path(__file__).parents[2])
    shutil.unpack_archive(archive, folder)
    return folder


def installed(source: Path, environment: Path) -> Path:
    """Install a revision with its constraints, as `make setup` does, and return its Python."""
    uv, python = Path(sys.executable).with_name("uv"), environment / "bin" / "python"
    finished([uv, "venv", "--quiet", "--python", sys.executable, environment], source)
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    finished([*install, "--constraint", "constraints.txt", f".[{_EXTRAS}]"], source)
    return python


def compared(installations: Sequence[Installation], models: int, turns: int) -> dict[str, Any]:
    """Return the figures of two installations, the earlier one first; seconds are of each turn.

    Raises:
        RuntimeError: a model was measured at first, but not in a turn.
    """
    names = ["--limit", str(models), "--seed", str(SEED)]
    for installation in installations:
        installation.home.mkdir(exist_ok=True)
        campaign = f"{installation.name}-converted"
        installation.measure(campaign, *names)
        names = installation.measured(campaign)
    seconds: dict[str, list[float]] = {installation.name: [] for installation in installations}
    cpu_seconds: dict[str, list[float]] = {installation.name: [] for installation in installations}
    for turn, installation in product(range(turns), installations):
        campaign = f"{installation.name}-{turn}"
        began_s, cpu_began_s = time.monotonic(), _cpu_s()
        installation.measure(campaign, *names)
        seconds[installation.name].append(round(time.monotonic() - began_s, 1))
        cpu_seconds[installation.name].append(round(_cpu_s() - cpu_began_s, 1))
        if (measured := installation.measured(campaign)) != names:
            raise RuntimeError(f"{campaign}: measured {measured}, not {names}")
    then, now = seconds
    return {
        "models": len(names),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "models_per_hour": {
            name: round(3600 * len(names) * turns / sum(taken)) for name, taken in seconds.items()
        },
        "load": round(os.getloadavg()[2], 1),
        "now_to_then_models_per_hour_ratio": round(sum(seconds[then]) / sum(seconds[now]), 2),
        "now_to_then_cpu_ratio": round(sum(cpu_seconds[now]) / sum(cpu_seconds[then]), 2),
    }


def finished(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None
) -> str:
    """Run a command to its end and return what it printed.

    On Ctrl-C or after an hour it is stopped as by Ctrl-C, and waited for: what it works in is removed next.

    Raises:
        CalledProcessError: it failed.
    """
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            printed, _ = process.communicate(timeout=_TIMEOUT_S)
        except BaseException:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=_STOP_S)
            process.kill()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return printed


def _cpu_s() -> float:
    """Return the CPU seconds of the processes that this one has waited for, and of those that they have."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:2], *map(int, sys.argv[2:])), indent=1))
