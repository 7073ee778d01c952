"""What an engine of ours leaves in this machine's network when it has ended: dockerd removes none of it."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BRIDGE = "docker0"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
FIREWALLS = ("iptables", "ip6tables")
TIMEOUT_S = 60

_DOCKERS = re.compile(rf"\bDOCKER|\b{BRIDGE}\b|\bbr-[0-9a-f]{{12}}\b")
_FORWARD_POLICY = re.compile(r"^:FORWARD (\w+)", re.MULTILINE)


@contextmanager
def network_restored() -> Iterator[None]:
    """Remove Docker's bridge and its rules after the block, and forward packets only if it was so before.

    Where the bridge is there before, another engine uses all of it, and it stays.
    """
    if Path("/sys/class/net", BRIDGE).exists():
        yield
        return
    forwarding = FORWARDING.read_text()
    before = {name: _run(f"{name}-save") for name in FIREWALLS if shutil.which(f"{name}-save")}
    try:
        yield
    finally:
        _run("ip", "link", "delete", BRIDGE)
        for name, rules in before.items():
            _run(f"{name}-restore", given=without_docker(_run(f"{name}-save"), before=rules))
        FORWARDING.write_text(forwarding)


def without_docker(rules: str, *, before: str) -> str:
    """Return rules, as `iptables-save` prints them, without Docker's; FORWARD has its policy of `before`."""
    kept = "".join(line for line in rules.splitlines(keepends=True) if not _DOCKERS.search(line))
    policy = _FORWARD_POLICY.search(_filter_table(before))
    head, table, rest = kept.partition("*filter\n")
    return head + table + _FORWARD_POLICY.sub(f":FORWARD {policy[1] if policy else 'ACCEPT'}", rest, count=1)


def _filter_table(rules: str) -> str:
    return rules.partition("*filter\n")[2].partition("COMMIT")[0]


def _run(*command: str, given: str = "") -> str:
    return subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    ).stdout
