"""Two people submit, a third one only reads, none without TLS: as docs/operate/remote-access.md says."""

import re
import secrets
from collections.abc import Callable

from compose.lab import Lab, LabError
from device.rig.fetch import CHECKOUT

PAGE = CHECKOUT / "docs" / "operate" / "remote-access.md"
VERIFIED = "sslmode=verify-full&sslrootcert=/run/secrets/ca"


def check(lab: Lab, say: Callable[[str], None]) -> None:
    """Submit as two people, and connect as a reader.

    Raises:
        LabError: who submitted is not shown, the reader cannot read or can write, or TLS is not asked for.
    """
    for name in ("Anna", "Ben"):
        submit = ("submit", "DarkNet", "--pool", "rig", "--name", f"of-{name}")
        lab.compose("run", "--rm", "--env", f"NNLITE_USER={name}", "nnlite", *submit)
    listed = lab.nnlite("status")
    if not re.search(r"of-Anna +Anna ", listed) or not re.search(r"of-Ben +Ben ", listed):
        raise LabError(f"who submitted is not shown:\n{listed}")
    check_reader(lab, say)


def check_reader(lab: Lab, say: Callable[[str], None]) -> None:
    """Make the page's role that only reads, and use it from another container."""
    password = secrets.token_hex(16)
    (statements,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    role = statements.replace("'choose one'", f"'{password}'")
    lab.compose("exec", "--no-TTY", "postgres", "psql", "--username=nnlite", "--quiet", "--command", role)

    def as_reader(parameters: str, statement: str) -> str:
        url = f"postgresql://reader:{password}@postgres/nnlite?{parameters}"
        psql = ("run", "--rm", "--no-deps", "--entrypoint", "psql", "backup", url, "--command", statement)
        return lab.try_compose(*psql).stdout

    for parameters, statement, expected in (
        (VERIFIED, "SELECT count(*) AS results FROM latency", "results"),
        (VERIFIED, "DELETE FROM campaign", "read-only transaction"),
        (VERIFIED, "BEGIN READ WRITE; DELETE FROM campaign", "permission denied"),
        ("sslmode=disable", "SELECT 1", "no encryption"),
    ):
        if expected not in (said := as_reader(parameters, statement)):
            raise LabError(f"a reader with {parameters} asks {statement!r} and gets: {said}")
    say("two people submitted, a reader reads and writes nothing, and only with TLS")
