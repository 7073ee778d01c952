"""The overlay `gvisor`, where the engine has the runtime `runsc`: a conversion, and what a model reaches."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from compose import isolation
from compose.lab import Lab, LabError, await_

OVERLAY = "deploy/compose.gvisor.yml"
RUNTIME = "runsc"
#: One that the lab has not converted.
MODEL = "rl-init-2a44b82bd55bc4bb9787225ac8875838"
CAMPAIGN = "gvisor"
STARTED = ("postgres", "redis", "convert", "reaper")
#: What the overlay has addresses of.
WORKERS = tuple(what for what in isolation.WORKERS if what != "server reaper")
WITHOUT_FILTER = Path(__file__).with_name("programs") / "without_filter.py"
TIMEOUT_S = 900


def available() -> bool:
    """Whether the engine has gVisor's runtime."""
    command = ["docker", "info", "--format", "{{json .Runtimes}}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return f'"{RUNTIME}"' in done.stdout


def check(lab: Lab, say: Callable[[str], None]) -> None:
    """Start the lab again with converters in gVisor; convert a model and the spy.

    Raises:
        LabError: the model is not converted, or model code reaches something.
    """
    lab.compose("down")
    lab.files = (*lab.files, OVERLAY)
    lab.compose("up", "--detach", "--wait", "--wait-timeout", "600", *STARTED)
    kernel = lab.compose("exec", "--no-TTY", "convert", "dmesg")
    if "gVisor" not in kernel:
        raise LabError(f"the converter is not in gVisor: {kernel[:400]}")
    lab.nnlite("submit", MODEL, "--pool", "host", "--name", CAMPAIGN)
    states = await_("a conversion in gVisor ends", lambda: _ended(lab), timeout_s=TIMEOUT_S)
    if states != ["done"]:
        raise LabError(f"{MODEL} is not converted in gVisor: {states}")
    say(f"converted {MODEL} in gVisor")
    isolation.check(lab, say, campaign="spy-gvisor", workers=WORKERS)
    tried = lab.compose("exec", "--no-TTY", "convert", "python3", "-c", WITHOUT_FILTER.read_text())
    if "problem: None" not in tried:
        raise LabError(f"without the filter a conversion in gVisor reaches the network: {tried}")
    say("in gVisor a conversion has no network interface either")


def _ended(lab: Lab) -> list[str]:
    rows = lab.query(f"""
SELECT c.state FROM conversion c JOIN campaign g ON g.id = c.campaign_id
WHERE g.name = '{CAMPAIGN}' AND c.state NOT IN ('queued', 'running')""")
    return [row["state"] for row in rows]
