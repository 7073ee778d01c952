"""The overlay `runtimes`: this machine measures one model in every other runtime of hosts."""

from collections.abc import Callable

from compose.lab import BUILD_TIMEOUT_S, Lab, LabError, await_
from nnlite.backends import HOST_ONLY

OVERLAY = "deploy/compose.runtimes.yml"
MODEL = "DarkNet"
CAMPAIGN = "runtimes"
TIMEOUT_S = 900


def check(lab: Lab, say: Callable[[str], None]) -> None:
    """Build the overlay's image, take the place of the host's worker with it, and measure.

    Raises:
        LabError: a runtime has no result.
    """
    lab.files = (*lab.files, OVERLAY)
    lab.compose("build", "benchmark-host", timeout_s=BUILD_TIMEOUT_S)
    lab.compose("up", "--detach", "--wait", "--wait-timeout", "300", "--no-deps", "benchmark-host")
    backends = [option for backend in HOST_ONLY for option in ("--backend", backend.value)]
    lab.nnlite("submit", MODEL, "--pool", "host", *backends, "--name", CAMPAIGN)
    results = await_("every runtime has measured", lambda: _results(lab), timeout_s=TIMEOUT_S)
    measured = {row["backend"] for row in results if row["verdict"] in {"valid", "noisy"}}
    if measured != set(HOST_ONLY):
        raise LabError(f"not measured in every runtime: {results}")
    say(f"measured {MODEL} in " + ", ".join(sorted(measured)))


def _results(lab: Lab) -> list[dict[str, str]]:
    """Return the campaign's measurements once nothing is left to do; before that, none."""
    return lab.query(f"""
SELECT x.backend, x.verdict, x.reasons, x.error
FROM measurement x JOIN benchmark b ON b.id = x.benchmark_id JOIN conversion c ON c.id = b.conversion_id
JOIN campaign g ON g.id = c.campaign_id
WHERE g.name = '{CAMPAIGN}'
  AND NOT EXISTS (SELECT FROM benchmark WHERE run = 1 AND state IN ('queued', 'running'))
  AND NOT EXISTS (SELECT FROM conversion WHERE state IN ('queued', 'running'))""")
