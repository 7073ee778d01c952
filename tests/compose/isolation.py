"""Model code in the lab reaches no server, password or privilege; the worker's account does: the control."""

from collections.abc import Callable, Sequence
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
#: What `nnlite doctor` says in a converter's container.
DOCTOR = "model code runs as account 65534; without network"
TIMEOUT_S = 300


def check(
    lab: Lab, say: Callable[[str], None], *, campaign: str = "spy", workers: Sequence[str] = WORKERS
) -> None:
    """Submit the spy as a model, and run it as the worker's account.

    Args:
        lab: the lab.
        say: prints a line.
        campaign: name of the spy's campaign.
        workers: what the worker itself must reach.

    Raises:
        LabError: the model reaches something, or the worker does not.
    """
    attempts = SPY.read_text().partition("class Net")[0].replace("import torch\n", "")
    program = f"{attempts}\nprint(f'reached {{reached()}}')"
    by_worker = lab.compose("exec", "--no-TTY", "convert", "python3", "-c", program)
    if missing := [what for what in workers if what not in by_worker]:
        raise LabError(f"the worker itself does not reach {missing}: {by_worker}")
    said = lab.try_compose("run", "--rm", "--no-deps", "convert", "doctor", "--json").stdout
    if DOCTOR not in said:
        raise LabError(f"nnlite doctor of a converter says otherwise: {said[-2000:]}")
    mounted = f"--volume={SPY.parent}:/nets:ro"
    submit = ("submit", "--source", "files", "--path", "/nets/spy.py", "--input", "1x3x8x8")
    lab.compose("run", "--rm", mounted, "nnlite", *submit, "--pool", "host", "--name", campaign)
    reason = await_("the spy's conversion ends", lambda: _reason(lab, campaign), timeout_s=TIMEOUT_S)
    if "reached nothing" not in reason:
        raise LabError(f"model code reaches something: {reason}")
    say(f"model code: {reason}")


def _reason(lab: Lab, campaign: str) -> str:
    rows = lab.query(f"""
SELECT c.reason FROM conversion c JOIN campaign g ON g.id = c.campaign_id
WHERE g.name = '{campaign}' AND c.state NOT IN ('queued', 'running')""")
    return str(rows[0]["reason"]) if rows else ""
