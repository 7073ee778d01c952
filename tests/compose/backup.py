"""The lab's database is lost and restored from a dump of the service `backup`."""

from collections.abc import Callable, Sequence

from compose.lab import Lab, LabError

TABLES = ("campaign", "model", "conversion", "artifact", "benchmark", "measurement", "attempt")


def check(lab: Lab, services: Sequence[str], say: Callable[[str], None]) -> None:
    """Dump, lose and restore the database as the operator's guide says.

    Raises:
        LabError: it is not what it was.
    """
    lab.compose("stop", "convert", "benchmark-host", "benchmark-network-phone", "runtime-check", "reaper")
    before = _rows(lab)
    lab.compose("run", "--rm", "backup", "backup", "/backups", "14")
    dump = lab.compose("run", "--rm", "--entrypoint", "ls", "backup", "/backups").split()[-1]
    psql = ("exec", "--no-TTY", "postgres", "psql", "--username=nnlite", "--quiet", "--command")
    lab.compose(*psql, "DROP SCHEMA public CASCADE")
    lab.compose("stop")
    lab.compose("run", "--rm", "backup", "restore", f"/backups/{dump}")
    # Without workers, who would go on with what is left.
    lab.compose("up", "--detach", "--wait", "--wait-timeout", "300", "postgres")
    if (after := _rows(lab)) != before or not before["measurement"]:
        raise LabError(f"{dump} was restored and has {after}, before there were {before}")
    lab.compose("up", "--detach", "--wait", "--wait-timeout", "300", *services)
    say(f"restored {dump}: {after['measurement']} measurements")


def _rows(lab: Lab) -> dict[str, int]:
    """Return the number of rows of each table."""
    return {table: lab.count(f"SELECT count(*) AS n FROM {table}") for table in TABLES}
