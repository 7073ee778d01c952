"""The home folder of a machine's servers, and the account that they run as.

As a plain user everything runs as that user. As root, servers run as an existing
unprivileged account, from copies of their programs below the home. Only the servers'
data folders change owner, and nothing outside the home is changed.
"""

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from nnlite.errors import NnliteError
from nnlite.local import logs

#: Accounts that run the servers for root; the first that exists is used. `nobody` is last, because
#: model code runs as that account and must not reach the database's files.
ACCOUNTS = ("postgres", "daemon", "nobody")

#: Runs a program as an unprivileged account inside a user namespace that only maps root.
NAMESPACE_PREFIX = ("unshare", "--user", "--map-user=65534", "--map-group=65534", "--")


class LocalError(NnliteError):
    """This machine cannot run the embedded servers; the message says what to change."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Time limits of starts and stops, and the size limit of logs."""

    start_timeout_s: float = 60.0
    stop_timeout_s: float = 30.0
    log_max_mb: float = 20.0

    @property
    def log_max_bytes(self) -> int:
        """Size at which a log is rotated, bytes."""
        return int(self.log_max_mb * 1024 * 1024)


@dataclass(frozen=True, kw_only=True)
class Account:
    """An unprivileged account."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class LocalInstance:
    """One home folder, and how programs are run in it."""

    #: Absolute, without symbolic links.
    home: Path
    limits: Limits
    #: The account of the servers; None: our own.
    account: Account | None = None
    #: Put before every server's command line.
    prefix: tuple[str, ...] = ()

    @property
    def logs(self) -> Path:
        """The folder of log files."""
        return self.home / "logs"

    @property
    def copies_programs(self) -> bool:
        """Whether servers run from copies, because their account may not be able to read the installation."""
        return self.account is not None

    def popen(self, argv: Sequence[str | Path], **arguments: object) -> subprocess.Popen[bytes]:
        """Start a program as the servers' account, in a process session of its own."""
        if self.account:
            arguments |= {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [*self.prefix, *argv],
            start_new_session=True,
            umask=0o077,
            env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C", "TZ": "UTC"},
            **arguments,  # type: ignore[call-overload]
        )
        return process

    def run(self, argv: Sequence[str | Path], text: str = "") -> str:
        """Run a program as the servers' account until it ends; return its output.

        Raises:
            LocalError: it failed or took longer than the start limit; its output is quoted.
        """
        process = self.popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.home
        )
        with process:
            try:
                output, _ = process.communicate(text.encode(), timeout=self.limits.start_timeout_s)
            except BaseException:
                process.kill()
                raise
        printed = output.decode(errors="replace").strip()
        if process.returncode:
            end = "\n".join(printed.splitlines()[-6:])
            raise LocalError(
                f"{argv[0]} failed with exit status {process.returncode}:\n{end}{hint_for(printed)}"
            )
        return printed

    def open_log(self, name: str) -> IO[bytes]:
        """Open `HOME/logs/<name>.log` for appending, unbuffered; it is rotated first if it is too large."""
        log = self.logs / f"{name}.log"
        logs.rotate(log, self.limits.log_max_bytes)
        return log.open("ab", buffering=0)

    def make_data_folder(self, path: Path) -> None:
        """Create an empty private folder that belongs to the servers' account."""
        path.mkdir(mode=0o700)
        if self.account:
            os.chown(path, self.account.uid, self.account.gid)

    def check_data_owner(self, path: Path) -> None:
        """Check that a data folder belongs to the servers' account.

        Raises:
            LocalError: it does not.
        """
        owner = path.stat().st_uid
        runs_as = self.account.uid if self.account else os.geteuid()
        if owner != runs_as:
            has, needs = account_name(owner), account_name(runs_as)
            raise LocalError(
                f"{path} belongs to {has}, and the server would run as {needs};"
                f" run as {has}, or give it away: chown -R {needs} {path}"
            )


def hint_for(message: str) -> str:
    """Return what to do about an error message, as a line of its own; empty if unknown."""
    hints = {
        "No space left on device": "the disk is full: free some space, then run the same command again",
        "Permission denied": "a file or folder has the wrong owner or mode: see the path above",
        "shared memory": "the machine is out of shared memory: see /dev/shm and `ipcs -m`",
        "user does not exist": "Postgres needs an account with an entry in /etc/passwd: add one, or set "
        "NNLITE_DATABASE_URL",
        "Cannot allocate memory": "the machine is out of memory",
    }
    return next((f"\n{hint}" for phrase, hint in hints.items() if phrase in message), "")


def absolute_home(home: Path) -> Path:
    """Return the path of a home, which need not exist.

    Raises:
        LocalError: it is a file, or below one.
    """
    home = home.expanduser().resolve()
    existing = next(path for path in (home, *home.parents) if path.exists())
    if not existing.is_dir():
        raise LocalError(f"NNLITE_HOME={home}: {existing} is a file; set NNLITE_HOME to a folder of your own")
    return home


def prepare_home(home: Path, limits: Limits) -> LocalInstance:
    """Choose the account of the servers of `home`, check that it can enter it, and create its folders.

    Raises:
        LocalError: the account cannot enter `home`, or `home` belongs to another account.
    """
    home = absolute_home(home)
    _check_owner(home)
    account, prefix = _servers_account(home)
    if account:
        _check_reachable(home, account)
    try:
        _make_folders(home / "logs")
    except OSError as error:
        more = "" if isinstance(error, PermissionError) else hint_for(error.strerror or "")
        raise LocalError(
            f"cannot make {error.filename or home}: {error.strerror}; set NNLITE_HOME to a folder of your own"
            f"{more}"
        ) from error
    return LocalInstance(home=home, limits=limits, account=account, prefix=prefix)


def _check_owner(home: Path) -> None:
    lock = home / "servers.lock"
    if not lock.exists() or lock.stat().st_uid == os.geteuid():
        return
    owner = account_name(lock.stat().st_uid)
    raise LocalError(
        f"{home} is the home of {owner}; run as {owner}, or set NNLITE_HOME to a folder of your own"
    )


def _servers_account(home: Path) -> tuple[Account | None, tuple[str, ...]]:
    if os.geteuid() != 0:
        return None, ()
    if earlier := _owner_of_data(home):
        return earlier, ()
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid and _is_mapped(entry.pw_uid, "uid") and _is_mapped(entry.pw_gid, "gid"):
            return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid), ()
    if shutil.which("unshare"):
        return None, NAMESPACE_PREFIX
    raise LocalError(
        f"Postgres does not run as root, and none of the accounts {', '.join(ACCOUNTS)} exists here;"
        " run as a plain user, or set NNLITE_DATABASE_URL and NNLITE_BROKER_URL"
    )


def _owner_of_data(home: Path) -> Account | None:
    """Return the account that owns the data: another one could not read them."""
    try:
        status = (home / "postgres" / "data").stat()
    except FileNotFoundError:
        return None
    if status.st_uid == 0 or not _is_mapped(status.st_uid, "uid"):
        return None
    return Account(name=account_name(status.st_uid), uid=status.st_uid, gid=status.st_gid)


def _is_mapped(number: int, kind: str) -> bool:
    """Whether an account is mapped into our user namespace."""
    try:
        ranges = Path(f"/proc/self/{kind}_map").read_text().splitlines()
    except FileNotFoundError:
        return True
    return any(int(first) <= number < int(first) + int(count) for first, _, count in map(str.split, ranges))


def account_name(uid: int) -> str:
    """Return the name of an account, or its number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _check_reachable(home: Path, account: Account) -> None:
    """Check as the account itself, so that access control lists count too."""
    folders = [folder for folder in [*reversed(home.parents), home] if folder.exists()]
    script = 'for folder do test -x "$folder" || { echo "$folder"; exit 1; }; done'
    checked = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *folders],
        user=account.uid, group=account.gid, extra_groups=[], cwd="/",
        stdout=subprocess.PIPE, text=True, timeout=30, check=False,
    )  # fmt: skip
    if checked.returncode == 0:
        return
    closed = Path(checked.stdout.strip() or home)
    mode = stat.S_IMODE(closed.stat().st_mode)
    raise LocalError(
        f"run by root, the embedded servers run as {account.name}, which cannot enter {closed}"
        f" (mode {mode:04o}) on the way to {home};"
        f" set NNLITE_HOME to a folder that it can reach, such as /var/lib/nnlite, or open"
        f" the way yourself: chmod o+x {closed}"
    )


def _make_folders(path: Path) -> None:
    """Create `path` and its missing parents; as root with mode 0755, whatever the umask."""
    missing = [folder for folder in [path, *path.parents] if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            folder.chmod(0o755)
