"""Model code in the lab reaches no server, password or privilege; the worker's account does: the control."""

from collections.abc import Callable
from pathlib import Path

from compose.lab import Lab, LabError, await_

SPY = Path(__file__).with_name("programs") / "spy.py"
#: What the worker itself must reach, or else the attempts prove nothing.
WORKERS = (
    "server postgres",
    "server redis",
    "server reaper",
    "/private/secrets/postgres_password",
    "environ of",
)
TIMEOUT_S = 300


def check(lab: Lab, say: Callable[[str], None]) -> None:
    """Submit the spy as a model, and run it as the worker's account.

    Raises:
        LabError: the model reaches something, or the worker does not.
    """
    attempts = SPY.read_text().partition("class Net")[0].replace("import torch\n", "")
    program = f"{attempts}\nprint(f'reached {{reached()}}')"
    by_worker = lab.compose("exec", "--no-TTY", "convert", "python3", "-c", program)
    if missing := [what for what in WORKERS if what not in by_worker]:
        raise LabError(f"the worker itself does not reach {missing}: {by_worker}")
    mounted = f"--volume={SPY.parent}:/nets:ro"
    submit = ("submit", "--source", "files", "--path", "/nets/spy.py", "--input", "1x3x8x8")
    lab.compose("run", "--rm", mounted, "nnlite", *submit, "--pool", "host", "--name", "spy")
    reason = await_("the spy's conversion ends", lambda: _reason(lab), timeout_s=TIMEOUT_S)
    if "reached nothing" not in reason:
        raise LabError(f"model code reaches something: {reason}")
    say(f"model code: {reason}")


def _reason(lab: Lab) -> str:
    rows = lab.query("""
SELECT c.reason FROM conversion c JOIN campaign g ON g.id = c.campaign_id
WHERE g.name = 'spy' AND c.state NOT IN ('queued', 'running')""")
    return str(rows[0]["reason"]) if rows else ""
