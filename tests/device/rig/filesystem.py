"""Root file system of a virtual device: the machine's programs, and nothing else of it.

Only `/data` lasts; it lies in the device's folder. Of the machine, `/usr` and
the checkout are visible, read-only.
"""

import os
import shutil
import sys
from pathlib import Path

from device.rig.fetch import CHECKOUT
from device.rig.fetch import HOME as UNPACKED
from device.rig.namespaces import Mount, bind, mount, unmount

#: Folder in which nothing can be written while the storage is full.
FULL_FOLDER = Path("/data/local/tmp")
_FILLER = FULL_FOLDER / ".full"
_NODES = ("null", "zero", "full", "random", "urandom", "tty")
_DATA_FOLDERS = (
    "local/tmp",
    "app",
    "data",
    "property",
    "misc/logd",
    "media/0/Android/media",
    "anr",
    "tombstones",
)


def build_root(
    home: Path,
    *,
    faults: Path,
    runtimes: Path,
    data_kb: int,
    memory_mb: int,
    sensors: bool,
    boot_id: str,
) -> None:
    """Mount the root of a device on `home/root`; the caller enters it."""
    root = home / "root"
    root.mkdir(parents=True, exist_ok=True)
    mount("none", Path("/"), flags=Mount.RECURSIVE | Mount.PRIVATE)
    mount("tmpfs", root, "tmpfs", Mount.NOSUID | Mount.NODEV, "mode=755")
    _programs(root)
    _settings(root)
    _devices(root)
    _processes(root, boot_id)
    _sensors(root / "sys", with_clocks=sensors)
    _data(root, home / "data")
    _checkout(root)
    rig = root / "rig"
    bind(Path(__file__).with_name("bin"), rig / "bin", read_only=True)
    bind(UNPACKED, rig / "adbd", read_only=True)
    bind(faults, rig / "faults")
    bind(runtimes, rig / "runtimes")
    (rig / "home").write_text(str(home))
    _files_of_the_app(home / "files", with_clocks=sensors)
    (rig / "python").symlink_to(os.path.realpath(sys.executable))
    (rig / "data_kb").write_text(f"{data_kb}\n")
    (rig / "memory_mb").write_text(f"{memory_mb}\n")


def fill() -> None:
    """Make the storage full: nothing more can be written where the shell may write."""
    mount("tmpfs", FULL_FOLDER, "tmpfs", options="size=4k,nr_inodes=2,mode=771")
    _FILLER.write_bytes(b"\0" * 4096)


def unfill() -> None:
    """Make the storage writable again."""
    unmount(FULL_FOLDER)


def is_filled() -> bool:
    """Whether the storage is full."""
    return _FILLER.exists()


def _programs(root: Path) -> None:
    bind(Path("/usr"), root / "usr", read_only=True)
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/") / name
        if path.is_symlink():
            (root / name).symlink_to(path.readlink())
        elif path.is_dir():
            bind(path, root / name, read_only=True)


def _checkout(root: Path) -> None:
    """Mount the checkout and its Python at their own paths, also below a folder of the device."""
    for folder in (CHECKOUT, Path(sys.base_prefix)):
        if not folder.is_relative_to("/usr"):
            bind(folder, root / folder.relative_to("/"), read_only=True)


def _settings(root: Path) -> None:
    etc = root / "etc"
    etc.mkdir()
    (etc / "passwd").write_text("shell:x:2000:2000::/:/bin/sh\n")
    (etc / "group").write_text("shell:x:2000:\n")
    (etc / "hosts").write_text("127.0.0.1 localhost\n")
    for name in ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d"):
        if (Path("/etc") / name).exists():
            bind(Path("/etc") / name, etc / name, read_only=True)


def _devices(root: Path) -> None:
    dev = root / "dev"
    dev.mkdir()
    for name in _NODES:
        bind(Path("/dev") / name, dev / name)
    (dev / "pts").mkdir()
    mount("devpts", dev / "pts", "devpts", options="newinstance,ptmxmode=0666,mode=620")
    (dev / "ptmx").symlink_to("pts/ptmx")
    (dev / "fd").symlink_to("/proc/self/fd")
    for name in ("socket", "shm", "app"):
        (dev / name).mkdir()


def _processes(root: Path, boot_id: str) -> None:
    proc = root / "proc"
    proc.mkdir()
    mount("proc", proc, "proc", Mount.NOSUID | Mount.NODEV)
    (root / "rig").mkdir()
    (root / "rig" / "boot_id").write_text(f"{boot_id}\n")
    bind(root / "rig" / "boot_id", proc / "sys/kernel/random/boot_id", read_only=True)


def _data(root: Path, data: Path) -> None:
    for name in _DATA_FOLDERS:
        (data / name).mkdir(parents=True, exist_ok=True)
    bind(data, root / "data")
    bind(data / "media" / "0", root / "storage" / "emulated" / "0")
    (root / "sdcard").symlink_to("/storage/emulated/0")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)


def _sensors(sys_folder: Path, *, with_clocks: bool) -> None:
    """Mount what programs need of the machine's processors, and simulated sensors."""
    cpus = Path("/sys/devices/system/cpu")
    shown = sys_folder / "devices" / "system" / "cpu"
    shown.mkdir(parents=True)
    for name in ("kernel_max", "online", "possible", "present"):
        shutil.copyfile(cpus / name, shown / name)
    for cpu in cpus.glob("cpu[0-9]*"):
        for group in ("topology", "cache"):
            if (cpu / group).is_dir():
                bind(cpu / group, shown / cpu.name / group, read_only=True)
        (shown / cpu.name).mkdir(exist_ok=True)
        if with_clocks:
            _clock(shown / cpu.name / "cpufreq")
    thermal = sys_folder / "class" / "thermal"
    thermal.mkdir(parents=True)
    if with_clocks:
        for number, (kind, temperature) in enumerate((("cpu-0-0", 38000), ("battery", 29500))):
            zone = thermal / f"thermal_zone{number}"
            zone.mkdir()
            (zone / "type").write_text(f"{kind}\n")
            (zone / "temp").write_text(f"{temperature}\n")


def _files_of_the_app(root: Path, *, with_clocks: bool) -> None:
    """Write what the app, which runs outside, reads of the device instead of this machine."""
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/cpuset").write_text("/top-app\n")
    if with_clocks:
        for cpu in Path("/sys/devices/system/cpu").glob("cpu[0-9]*"):
            _clock(root / str(cpu).lstrip("/") / "cpufreq")


def _clock(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "scaling_governor": "schedutil",
        # The core of the highest number is the fast one.
        "cpuinfo_max_freq": f"{2_000_000 + 100_000 * int(folder.parent.name.removeprefix('cpu'))}",
        "scaling_cur_freq": "1804800",
        "scaling_min_freq": "300000",
        "scaling_max_freq": "1804800",
    }
    for name, value in values.items():
        (folder / name).write_text(f"{value}\n")
