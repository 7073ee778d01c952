"""What is looked up when Prometheus asks: the files of a worker's processes, and the disks."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector


class WorkerCollector(Collector):
    """Sums up what all processes of one worker counted, dead ones included.

    What a dead process was doing or was ready for is forgotten: nobody else can take that back.

    Args:
        folder: of their files.
        worker: PID of the worker; its pool processes are its children.
    """

    def __init__(self, folder: Path, worker: int) -> None:
        self._folder = folder
        self._worker = worker
        self._files = MultiProcessCollector(CollectorRegistry(), str(folder))

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        for pid in {int(file.stem.rpartition("_")[2]) for file in self._folder.glob("*.db")}:
            if pid != self._worker and _parent(pid) != self._worker:
                mark_process_dead(pid, str(self._folder))
        return list(self._files.collect())

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the names are the meter's."""
        return []


class DiskCollector(Collector):
    """How full the disks are that some folders lie on.

    Args:
        folders: by name.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders

    def collect(self) -> Iterable[Metric]:
        """Return the sizes as they are now, of folders that are there."""
        free, size = self.describe()
        for name, folder in self._folders.items():
            try:
                usage = shutil.disk_usage(folder)
            except OSError:
                continue
            free.add_metric([name], usage.free)
            size.add_metric([name], usage.total)
        return [free, size]

    def describe(self) -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
        """Return the metrics without a value."""
        return (
            GaugeMetricFamily(
                "nnlite_disk_free_bytes", "Free space where the folder lies", labels=["folder"]
            ),
            GaugeMetricFamily("nnlite_disk_size_bytes", "Size of the disk of the folder", labels=["folder"]),
        )


def _parent(pid: int) -> int | None:
    """Return the parent of `pid`; None if there is no such process, or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, parent = stat.rpartition(")")[2].split()[:2]
    return None if state in "ZX" else int(parent)
