"""Fetch programs of Debian, the rig's by default: `python -m device.rig.fetch [LOCK HOME]`.

The packages are Debian's, pinned by a lock file, and come through the
machine's own apt client and mirror, with lists and caches of their own; they
are unpacked, never installed. Once they are there, nothing is fetched again.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
#: Where the packages lie unpacked.
HOME = CHECKOUT / ".nnlite" / "rig"
LOCK = Path(__file__).with_name("packages.lock")
#: Names the mirror where the machine's apt has none of Debian.
MIRROR_VARIABLE = "NNLITE_RIG_MIRROR"
TIMEOUT_S = 300
_STAMP = "packages.lock"


@dataclass(frozen=True, kw_only=True)
class Package:
    """One pinned package."""

    release: str
    name: str
    version: str
    architecture: str
    sha256: str

    @property
    def file(self) -> str:
        """As apt names the file that it downloads."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


def packages(lock: Path = LOCK) -> list[Package]:
    """Return what the lock file pins."""
    lines = (line.split() for line in lock.read_text().splitlines() if line and not line.startswith("#"))
    names = ("release", "name", "version", "architecture", "sha256")
    return [Package(**dict(zip(names, line, strict=True))) for line in lines]


def fetched(lock: Path = LOCK, home: Path = HOME) -> bool:
    """Whether exactly the packages that `lock` pins lie unpacked in `home`."""
    stamp = home / _STAMP
    return stamp.exists() and stamp.read_bytes() == lock.read_bytes()


def fetch(lock: Path = LOCK, home: Path = HOME) -> None:
    """Download the packages that `lock` pins, check them and unpack them into `home`.

    Raises:
        SystemExit: with what to do about it.
    """
    home.parent.mkdir(parents=True, exist_ok=True)
    pinned = packages(lock)
    with tempfile.TemporaryDirectory(prefix=f"{home.name}-", dir=home.parent) as folder:
        work = Path(folder)
        _download(pinned, work)
        root = work / "root"
        for package in pinned:
            sha256 = hashlib.sha256((work / package.file).read_bytes()).hexdigest()
            if sha256 != package.sha256:
                sys.exit(f"{package.file} has sha256 {sha256}; {lock} pins {package.sha256}")
            _run("dpkg-deb", "-x", str(work / package.file), str(root))
        shutil.copy(lock, root / _STAMP)
        root.chmod(0o755)
        shutil.rmtree(home, ignore_errors=True)
        root.rename(home)


def _download(pinned: list[Package], work: Path) -> None:
    sources = work / "sources.list"
    releases = sorted({package.release for package in pinned})
    mirror = debian_mirror()
    sources.write_text("".join(f"deb [arch=amd64] {mirror} {release} main\n" for release in releases))
    for folder in ("lists/partial", "cache/archives/partial", "preferences.d"):
        (work / folder).mkdir(parents=True)
    # The account that apt fetches as must be able to enter.
    work.chmod(0o755)
    options = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::preferences": "-",
        "Dir::Etc::preferencesparts": work / "preferences.d",
        "Dir::State": work,
        "Dir::State::lists": work / "lists",
        "Dir::State::status": os.devnull,
        "Dir::Cache": work / "cache",
        "Acquire::Languages": "none",
        "APT::Update::Error-Mode": "any",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "APT::Sandbox::User": "",
        "APT::Architecture": "amd64",
    }
    apt = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items())]
    _run(*apt, "update", folder=work)
    _run(*apt, "download", *(f"{package.name}={package.version}" for package in pinned), folder=work)


def debian_mirror() -> str:
    """Return the URL of the mirror of Debian that this machine's apt uses.

    Raises:
        SystemExit: it has none.
    """
    if chosen := os.environ.get(MIRROR_VARIABLE):
        return chosen
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    ).stdout
    for target in targets.splitlines():
        uri = target.split()[0].rstrip("/")
        if uri.endswith("/debian"):
            return uri
    sys.exit(f"apt of this machine has no Debian mirror: set {MIRROR_VARIABLE} to the URL of one")


def _run(*command: str, folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr or done.stdout}")


if __name__ == "__main__":
    chosen = [Path(argument) for argument in sys.argv[1:]] or [LOCK, HOME]
    if not fetched(*chosen):
        fetch(*chosen)
