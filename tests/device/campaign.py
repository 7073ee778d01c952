"""Demonstration campaign: measures 20 models of LEMUR on three virtual devices with injected faults.

`make rig-campaign`. A lab in small, through the commands that its people would
use: embedded servers, `nnlite reaper`, conversion and benchmark workers, two
campaigns, and what came of them: results, failures, devices, incidents, export, and
a page (build/rig-campaign.md): verdicts, what went wrong and what helped, boots.
Exits with 1 if anything is lost, doubled or not healed.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from device.campaign_checks import exported_files, objections, unseen, wrongly_exported
from device.campaign_page import page
from device.lab import QUICK, Lab
from device.rig.fetch import fetched
from device.rig.isolation import isolated
from device.rig.rig import Rig
from device.rig.runtimes_process import shared
from device.scenes import Scene, run_due, scenes
from integration.conftest import Cluster
from nnlite.db.engine import engine_for
from nnlite.db.reader import migrate_embedded
from nnlite.local import servers
from nnlite.queue.messages import BrokerClient
from nnlite.settings import Settings
from waiting import HANG_S, neighbours

#: It draws random numbers: no converter can take it, and the failures say so.
INCONVERTIBLE = "BayesianNet-3"
#: Chosen so that two cores take minutes: inputs up to this many pixels ...
_SMALL_PIXELS = 64 * 64
#: ... and families that are small for the most part; the size of a model is known only when it is loaded.
_SMALL_FAMILIES = ("alt-", "rag-", "rl-", "FractalNet-")
FIRST, SECOND = "night", "delegates"
#: Models of the first campaign that the second one measures on every backend.
_ON_ALL_BACKENDS = 5
#: Timeout of a campaign, seconds.
_CAMPAIGN_S = 3600.0
#: Deadlines as in the tests of devices. Measurements are shorter than in earnest, on the devices' own clock:
#: who runs this has conversions, servers and three devices on the same few cores.
SETTINGS = {name: value for name, value in QUICK.items() if not name.startswith("MEASUREMENT__")} | {
    "MEASUREMENT__MIN_S": "0.1",
    "MEASUREMENT__WARMUP_MIN_S": "0.02",
    "MEASUREMENT__GRACE_S": "300",
    "MEASUREMENT__NOISY_REPEATS": "0",
    "MEASUREMENT__AUDIT_SHARE": "0",
}


class Demonstration:
    """One run of the demonstration: a lab, its workers, and the messages about it."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._began_s = time.monotonic()

    def run(self, models: list[str], output: Path, *, small: bool = False) -> list[str]:
        """Run both campaigns, show what came of them, and return what is wrong with it.

        Args:
            models: their names.
            output: the page.
            small: only with what goes wrong at the start.
        """
        lab = self._lab
        devices = [lab.sdk.avd(f"rig-{number}") for number in range(2)]
        phone = lab.rig.phone()
        wrongs = [scene for scene in scenes(lab, *devices, phone) if scene.small or not small]
        self._play(wrongs)
        self._say("starting nnlite reaper, a conversion worker, and a benchmark worker for each device")
        lab.start("reaper", "reaper")
        lab.start("convert", "worker", "convert", "--concurrency", "2")
        workers = [lab.worker(f"avd:{device.name}") for device in devices]
        workers.append(lab.worker(f"tcp:{phone.address}"))
        self._campaign(FIRST, ["--backend", "cpu", *models], wrongs)
        self._campaign(SECOND, ["--backend", "cpu,gpu,npu", *self._measured()[:_ON_ALL_BACKENDS]], wrongs)
        for worker in workers:
            lab.wait_state(worker.device, "ready")
        tree = lab.folder / "nn-dataset"
        self._present(tree)
        output.parent.mkdir(exist_ok=True)
        output.write_text(page(lab.cluster, lab.workers, wrongs, self.summary()) + "\n")
        print(f"\n{output.read_text()}")
        cluster = lab.cluster
        wrong = objections(cluster) + unseen(cluster, wrongs) + wrongly_exported(cluster, tree)
        ended = [worker for worker in lab.workers if worker.process.poll() is not None]
        return wrong + [f"{worker.device} ended by itself: {worker.log}" for worker in ended]

    def summary(self) -> str:
        """Return one line of figures."""
        (figures,) = self._lab.cluster.rows("""
SELECT (SELECT count(*) FROM artifact) AS artifacts, (SELECT count(*) FROM measurement) AS measurements,
       (SELECT count(*) FROM incident) AS incidents, (SELECT count(*) FROM incident WHERE healed) AS healed
""")
        return (
            f"{figures['artifacts']} models converted, {figures['measurements']} measurements, "
            f"{figures['incidents']} incidents, {figures['healed']} of them healed, "
            f"in {time.monotonic() - self._began_s:.0f} s"
        )

    def choose(self, count: int, seed: int) -> list[str]:
        """Return a seeded choice of small models, and one that cannot be converted."""
        listed = self._lab.nnlite("models", "--usable", "--json")
        if listed.returncode:
            raise RuntimeError(listed.stderr)
        small = [model["name"] for model in json.loads(listed.stdout) if _is_small(model)]
        return [*random.Random(seed).sample(sorted(small), count - 1), INCONVERTIBLE]

    def _measured(self) -> list[str]:
        """Return the models with a result, those with the smallest artifacts first."""
        rows = self._lab.cluster.rows("SELECT model FROM latency ORDER BY size_bytes, model")
        return list(dict.fromkeys(row["model"] for row in rows))

    def _campaign(self, name: str, arguments: list[str], wrongs: list[Scene]) -> None:
        """Submit a campaign and watch it to its end, while things go wrong."""
        self._command("submit", "--pool", "rig", "--name", name, *arguments)
        watch = subprocess.Popen(
            [sys.executable, "-m", "nnlite.cli", "watch", name],
            env=self._lab.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert watch.stdout is not None
        reader = threading.Thread(target=self._repeat, args=(watch.stdout,))
        reader.start()
        deadline_s = time.monotonic() + _CAMPAIGN_S
        try:
            while watch.poll() is None:
                if time.monotonic() > deadline_s:
                    raise RuntimeError(f"{name} did not end within {_CAMPAIGN_S:g} s\n{self._lab.logs()}")
                self._play(wrongs)
                time.sleep(0.1)
        finally:
            watch.kill()
            watch.wait()
            reader.join()
            watch.stdout.close()

    def _repeat(self, output: Iterable[str]) -> None:
        for line in output:
            self._say(line.rstrip())

    def _play(self, wrongs: list[Scene]) -> None:
        rows = self._lab.cluster.rows
        (row,) = rows("SELECT count(*) AS done FROM benchmark WHERE state = 'done'")
        reasons = {row["reason"] for row in rows("SELECT unnest(reasons) AS reason FROM measurement")}
        for scene in run_due(wrongs, row["done"], reasons):
            self._say(f"!! {scene.description}")

    def _present(self, tree: Path) -> None:
        for name in (FIRST, SECOND):
            self._command("results", name)
        self._command("failures")
        self._command("status")
        self._command("devices")
        self._command("devices", "incidents")
        self._command("export", "lemur", str(tree))
        for file in sorted(tree.rglob("*.json")):
            print(f"  {file.relative_to(tree)}")
        shown = max(exported_files(tree), key=lambda file: file.stat().st_size)
        print(f"\n{shown.name} of {shown.parent.name}:\n{shown.read_text()}")

    def _command(self, *words: str) -> None:
        """Run a command as a user would, before everybody's eyes."""
        print(f"\n$ nnlite {' '.join(words)}", flush=True)
        subprocess.run(
            [sys.executable, "-m", "nnlite.cli", *words],
            env=self._lab.environment,
            timeout=HANG_S,
            check=True,
        )

    def _say(self, words: str) -> None:
        print(f"[{time.monotonic() - self._began_s:6.1f} s] {words}", flush=True)


def _is_small(model: dict[str, Any]) -> bool:
    shape = model["input_shape"]
    family = model["name"].startswith(_SMALL_FAMILIES)
    return family and bool(shape) and shape[-1] * shape[-2] <= _SMALL_PIXELS


@contextmanager
def home_folder(*, keep: bool = False) -> Iterator[Path]:
    """Yield an empty folder, removed afterwards unless it is kept."""
    home = Path(tempfile.mkdtemp(prefix="nnlite-rig-campaign-"))
    # Run by root, servers and model code are accounts without rights, which must be able to enter.
    home.chmod(0o755)
    try:
        yield home
    finally:
        if keep:
            print(f"kept: {home}")
        else:
            shutil.rmtree(home)


@contextmanager
def lab_in(home: Path, lemur: str) -> Iterator[Lab]:
    """A lab with embedded servers in `home`; all but the shared JVM has ended afterwards."""
    settings = Settings(home=home, database_url=None, broker_url=None, _env_file=None)
    (home / "rig").mkdir()
    rig = Rig(home / "rig")
    with servers(settings) as endpoints:
        migrate_embedded(settings, endpoints.database_url)
        engine = engine_for(endpoints.database_url)
        broker = BrokerClient(endpoints.broker_url, settings.broker_timeout_s)
        lab = Lab.make(Cluster(engine, broker, settings), rig, home, SETTINGS, forked=False)
        lab.environment["NNLITE_LEMUR"] = lemur
        try:
            yield lab
        finally:
            lab.close()
            rig.close()
            broker.close()
            engine.dispose()


def still_there() -> list[str]:
    """Return the processes that are still there after everything was stopped."""
    deadline_s = time.monotonic() + HANG_S
    while (left := neighbours()) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return [f"still runs: {process.pid} {process.name()}" for process in left]


def main() -> int:
    """Run the demonstration; 1: something is wrong."""
    parser = argparse.ArgumentParser(prog="make rig-campaign CAMPAIGN='...'", description=__doc__)
    parser.add_argument("--models", type=int, default=20, help="below 16 not everything comes to go wrong")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of models")
    parser.add_argument("--output", type=Path, default=Path("build/rig-campaign.md"), help="the page")
    parser.add_argument("--keep", action="store_true", help="leave the home with its logs and data there")
    arguments = parser.parse_args()
    lemur = os.environ.get("NNLITE_LEMUR")
    if not (isolated() and fetched() and lemur):
        parser.error("run it by `make rig-campaign`: it needs the rig, its isolation, and LEMUR")
    try:
        with home_folder(keep=arguments.keep) as home, lab_in(home, lemur) as lab:
            show = Demonstration(lab)
            models = show.choose(arguments.models, arguments.seed)
            wrong = show.run(models, arguments.output)
            print(show.summary())
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    finally:
        shared().close()
    wrong += still_there()
    for line in wrong:
        print(f"WRONG: {line}")
    print(
        "nothing lost, nothing doubled, everything healed" if not wrong else f"{len(wrong)} things are wrong"
    )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
