"""A lab for tests: real servers, workers as processes, virtual devices, and access to the rows.

More than 300 lines: what tests ask of one lab, of its settings, workers and rows.
"""

import json
import os
import signal
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

import psutil

from device.rig.rig import Rig, Sdk
from device.rig.runtimes_process import shared
from device.worker_forks import Fork, forks
from integration.canned import finish_conversion, stored_canary
from integration.conftest import Cluster
from make_canary import expected
from nnlite.artifacts.store import ArtifactStore
from nnlite.campaigns.device_argument import device_argument
from nnlite.host.processes import ProcessIdentity
from nnlite.vocabulary import Backend
from nnlite.worker.attempt import send
from nnlite_benchmark.android.adb.client import AdbClient
from nnlite_benchmark.protocol import canary
from waiting import HANG_S, NEVER_S, neighbours, wait_until

T = TypeVar("T")

#: What would make a test wait for nothing, shortened. A deadline is long enough for a slow and busy machine,
#: and what a test lets expire never comes.
QUICK = {
    "ANDROID__POLL_S": "0.25",
    "ANDROID__COMMAND_TIMEOUT_S": "15",
    "ANDROID__TRANSFER_TIMEOUT_S": "30",
    "ANDROID__CONNECT_TIMEOUT_S": "20",
    "ANDROID__BOOT_TIMEOUT_S": "20",
    "ANDROID__READY_TIMEOUT_S": "15",
    "ANDROID__PULL_GRACE_S": "10",
    "ANDROID__COOL_OFF_S": "0.5",
    "EMULATOR__BOOTS_AT_ONCE": "20",
    "EMULATOR__STOP_TIMEOUT_S": "10",
    "PHONE__GATE_POLL_S": "0.2",
    "PHONE__COOL_S": "1",
    # Devices wait for each other: they share a JVM, and measure one at a time.
    "ANDROID__APP_START_TIMEOUT_S": "300",
    "MEASUREMENT__QUIET_TIMEOUT_S": f"{HANG_S}",
    # On the devices' own clock. A run that hangs goes on until a test ends it, unless that is the test.
    "MEASUREMENT__WARMUP_MIN_RUNS": "1",
    "MEASUREMENT__WARMUP_MIN_S": "0",
    "MEASUREMENT__WARMUP_AGREEING_RUNS": "0",
    "MEASUREMENT__MIN_RUNS": "10",
    "MEASUREMENT__MIN_S": "0",
    "MEASUREMENT__MAX_S": "2",
    "MEASUREMENT__FEW_RUNS_MAX_S": "2",
    "MEASUREMENT__GRACE_S": f"{NEVER_S}",
    "MEASUREMENT__CANARY_RUNS": "4",
    "MEASUREMENT__NOISY_REPEATS": "0",
    "MEASUREMENT__AUDIT_SHARE": "0",
    "QUEUE__HEARTBEAT_S": "1",
    "QUEUE__LEASE_S": "60",
    "QUEUE__REAPER_INTERVAL_S": "1",
    "QUEUE__STOP_TIMEOUT_S": f"{HANG_S / 2}",
    "QUEUE__VISIBILITY_TIMEOUT_S": f"{48 * 3600}",
}
#: The emulator that the tests of a module meet in turn.
AVD = "avd:lab-0"


@dataclass
class RunningWorker:
    """A worker as a process of its own."""

    process: subprocess.Popen[bytes] | Fork
    log: Path
    #: As in the device table; of a process that has none, its own name.
    device: str

    def stop(self) -> int:
        """Stop it gracefully; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def end(self) -> int:
        """Wait for its end; return its exit code."""
        return self.process.wait(HANG_S)

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.end()


@dataclass
class Lab:
    """One cluster, one SDK; workers and phones as the test asks for them."""

    cluster: Cluster
    rig: Rig
    sdk: Sdk
    folder: Path
    store: ArtifactStore
    apk: Path
    environment: dict[str, str]
    #: Whether benchmark workers are forked, or started by the command as their people start them.
    forked: bool
    workers: list[RunningWorker] = field(default_factory=list)

    @classmethod
    def make(
        cls,
        cluster: Cluster,
        rig: Rig,
        folder: Path,
        settings: Mapping[str, str] = QUICK,
        forked: bool = True,
    ) -> "Lab":
        """Put a lab together; `folder` becomes nnlite's home.

        Without URLs in the cluster's settings, commands use the embedded servers of that home.
        """
        apk = folder / "nnlite-benchmark.apk"
        with zipfile.ZipFile(apk, "w") as package:
            package.writestr("AndroidManifest.xml", "only the rig takes this for an app")
        sdk = rig.make_sdk(folder / "sdk")
        shared().warm_up()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NNLITE_")}
        environment |= {f"NNLITE_{name}": value for name, value in settings.items()}
        environment |= {"NNLITE_HOME": str(folder), "NNLITE_EMULATOR__SDK": str(sdk.path)}
        for name in ("database_url", "broker_url"):
            if url := getattr(cluster.settings, name):
                environment[f"NNLITE_{name.upper()}"] = url
        store = ArtifactStore(str(folder / "artifacts"), folder / "cache")
        return cls(cluster, rig, sdk, folder, store, apk, environment, forked)

    def worker(self, device: str, *, pool: str = "rig", **settings: str) -> RunningWorker:
        """Start a benchmark worker: `worker("avd:lab-0", ANDROID__COOL_OFF_S="3")`."""
        name = self.device_name(device)
        if not self.forked:
            return self.start(name, "worker", "benchmark", "--device", device, "--pool", pool, **settings)
        named = device_argument(device, pool).worker_name
        arguments = ("--device", device, "--pool", pool, "--name", named)
        return self._started(name, lambda *where: forks().start(arguments, *where), settings)

    def device_name(self, device: str) -> str:
        """Return the name in the device table of what a worker's `--device` says."""
        return f"{device}@{os.uname().nodename}" if device.startswith("avd:") else device

    def owner(self, device: str) -> RunningWorker:
        """Return the worker that was started last for a device of the device table."""
        return next(worker for worker in reversed(self.workers) if worker.device == device)

    def start(self, name: str, *arguments: str, **settings: str) -> RunningWorker:
        """Start a command that goes on until it is stopped: `start("reaper", "reaper")`."""

        def command(output: IO[bytes], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [sys.executable, "-m", "nnlite.cli", *arguments],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )

        return self._started(name, command, settings)

    def _started(
        self,
        name: str,
        start: Callable[[IO[bytes], Mapping[str, str]], subprocess.Popen[bytes] | Fork],
        settings: Mapping[str, str],
    ) -> RunningWorker:
        log = self.folder / f"worker-{len(self.workers)}.log"
        environment = self.environment | {f"NNLITE_{name}": value for name, value in settings.items()}
        with log.open("wb") as output:
            running = RunningWorker(start(output, environment), log, name)
        self.workers.append(running)
        return running

    def enqueue(
        self,
        models: int = 1,
        *,
        pool: str = "rig",
        backends: tuple[Backend, ...] = (Backend.CPU,),
        **request: Any,
    ) -> list[uuid.UUID]:
        """Queue benchmarks of one small artifact, under as many models' names; return their rows."""
        artifact, output = self.folder / "artifact.tflite", self.folder / "output.f32"
        if not artifact.exists():
            # The canary's network, with a hundredth of its computation.
            artifact.write_bytes(canary.GATE_FILE.read_bytes() + bytes(16))
            output.write_bytes(expected(artifact.read_bytes()))
        names = [f"model-{uuid.uuid4().hex[:12]}" for _ in range(models)]
        campaign = self.cluster.submit(*names, pools=(pool,), backends=backends, **request)
        messages = []
        where = stored_canary(self.store, artifact, output)
        for row in self.cluster.rows("SELECT id FROM conversion WHERE campaign_id = :id", id=campaign.id):
            messages += finish_conversion(self.cluster, row["id"], **where)
        send(self.cluster.broker, messages)
        return [message.row_id for message in messages]

    def wait(self, holds: Callable[[], T], what: str) -> T:
        """Wait until `holds` returns something true, and return it."""
        return wait_until(holds, what, self.logs)

    def wait_state(self, device: str, state: str) -> None:
        """Wait until a device is in this state."""
        self.wait(lambda: self.device(device).get("state") == state, f"{device} is {state}")

    def wait_done(self, rows: list[uuid.UUID]) -> None:
        """Wait until every benchmark has its result."""
        self.wait(lambda: all(self.benchmark(row)["state"] == "done" for row in rows), "benchmarks are done")

    def device(self, name: str) -> dict[str, Any]:
        """Return a device's row; empty: it has none."""
        rows = self.cluster.rows("SELECT * FROM device WHERE name = :name", name=name)
        return rows[0] if rows else {}

    def benchmark(self, row: uuid.UUID) -> dict[str, Any]:
        """Return a benchmark's row."""
        (benchmark,) = self.cluster.rows("SELECT * FROM benchmark WHERE id = :id", id=row)
        return benchmark

    def attempts(self, row: uuid.UUID) -> list[tuple[str, str]]:
        """Return how each attempt at a row ended: outcome and stage."""
        return [(attempt["outcome"], attempt["stage"]) for attempt in self.cluster.attempts(row)]

    def incidents(self, device: str) -> list[dict[str, Any]]:
        """Return a device's incidents, oldest first."""
        return self.cluster.rows(
            "SELECT i.* FROM incident i JOIN device d ON d.id = device_id WHERE name = :name ORDER BY i.id",
            name=device,
        )

    def measurements(self, row: uuid.UUID) -> list[dict[str, Any]]:
        """Return a benchmark's measurements in the order cpu, gpu, npu."""
        return self.cluster.rows(
            "SELECT * FROM measurement WHERE benchmark_id = :id ORDER BY backend", id=row
        )

    def process(self, worker: RunningWorker, program: str) -> ProcessIdentity:
        """Return a worker's `emulator` or `adb-server`."""
        (note,) = self.folder.glob(f"devices/{worker.device.replace(':', '_')}/{program}.process.json")
        return ProcessIdentity(**json.loads(note.read_text()))

    def pid(self, worker: RunningWorker, program: str) -> int:
        """Return the PID of a worker's `emulator` or `adb-server`."""
        return self.process(worker, program).pid

    def attached(self, worker: RunningWorker) -> set[str]:
        """Return the serials that a worker's own adb server knows."""
        command = psutil.Process(self.pid(worker, "adb-server")).cmdline()
        devices = AdbClient(int(command[command.index("-P") + 1]), 5).device_list()
        return {device.serial for device in devices}

    def nnlite(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command as a user of this lab would."""
        return subprocess.run(
            [sys.executable, "-m", "nnlite.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        )

    def daemons(self) -> list[str]:
        """Return the command lines of adb servers that run as daemons, in this network's processes."""
        lines = [process.info["cmdline"] or [] for process in neighbours()]
        return [" ".join(line) for line in lines if "fork-server" in line]

    @contextmanager
    def one_incident(self, worker: RunningWorker) -> Iterator[dict[str, Any]]:
        """Expect one more incident of the worker's device, healed; its columns are there after the block."""
        before = len(self.incidents(worker.device))
        incident_row: dict[str, Any] = {}
        yield incident_row
        self.wait_state(worker.device, "ready")
        (incident,) = self.incidents(worker.device)[before:]
        assert incident["healed"]
        incident_row |= incident

    def logs(self) -> str:
        """Return the ends of the workers' logs."""
        return "\n".join(f"--- {w.device}\n{w.log.read_text()[-3000:]}" for w in self.workers)

    def close(self) -> None:
        """Stop every worker that still runs, all at once."""
        for running in self.workers:
            running.process.send_signal(signal.SIGTERM)
        for running in self.workers:
            running.end()
