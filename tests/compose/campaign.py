"""`make compose-test`: the lab server built, used, killed in places and checked, as its operator would.

Six models of LEMUR on two devices: this machine, and a virtual Android device.
In between a converter, a benchmark worker, Redis and Postgres are killed, and
the whole lab is taken down and up again. At the end every model is final and
nothing is doubled.
"""

import argparse
import sys
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from compose import backup, configurations, gvisor, isolation, mistakes, people, runtimes
from compose.engine import EngineError, engine, make_base_image
from compose.lab import BUILD_TIMEOUT_S, Lab, LabError, await_, make_certificates
from compose.screenshot import screenshot
from device.rig.fetch import CHECKOUT

#: Small and large ones, and one that draws random numbers, which cannot be converted.
MODELS = (
    "MobileNetV3",
    "DarkNet",
    "LRASPP",
    "ga-mut-113",
    "alt-138c6fd98788be69bfa0c94e9bf7b316",
    "BayesianNet-3",
)
POOLS = ("host", "rig")
CAMPAIGN = "lab"
#: What can be started here, without KVM, GPU, USB or a registry; `check` and `migrate` come along.
STARTED = (
    "postgres", "redis", "convert", "benchmark-host", "benchmark-network-phone", "runtime-check", "reaper",
    "flower", "serve", "prometheus", "alertmanager", "device", "backup",
)  # fmt: skip
VARIABLES = {
    "COMPOSE_PROFILES": "network-phone,runtime-check,rank,monitoring,alerts",
    "LAB_PHONE_ADDRESS": "device:5555",
    "LAB_PHONE_POOL": "rig",
    "LAB_MIN_FREE_GB": "1",
}
BUILT = (
    "check", "convert", "benchmark-host", "benchmark-network-phone", "runtime-check", "device", "postgres",
    "redis", "prometheus", "alertmanager",
)  # fmt: skip
NOT_RUN = (
    "benchmark-emulator (KVM, and the download of the SDK)",
    "convert-gpu and deploy/compose.gpus.yml (a GPU)",
    "benchmark-phone (a phone on USB)",
    "grafana, and the official images of Postgres, Redis, Prometheus and Alertmanager (a registry)",
    "deploy/compose.s3.yml (a store)",
)
END_TIMEOUT_S = 900

Say = Callable[[str], None]


def main() -> int:
    """Run it all; exit code 1 and what went wrong if the lab does not do what it should."""
    parser = argparse.ArgumentParser(prog="make compose-test", description=__doc__)
    parser.add_argument("--screenshot", type=Path, help="write a picture of Flower during the campaign")
    parser.add_argument("--keep", action="store_true", help="leave the lab running, with an engine of yours")
    arguments = parser.parse_args()
    started_s = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started_s:4.0f} s] {text}", flush=True)

    folder = CHECKOUT / "build"
    folder.mkdir(exist_ok=True)
    try:
        with engine():
            _run(Lab(folder=folder, project="nnlite-test", variables=VARIABLES), arguments, say)
    except (EngineError, LabError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    say("passed")
    return 0


def _run(lab: Lab, arguments: argparse.Namespace, say: Say) -> None:
    say("base image by debootstrap; Postgres, Redis, Prometheus and Alertmanager from Debian's packages")
    make_base_image()
    make_certificates(lab.folder / "tls")
    configurations.check(lab.folder)
    say("docker compose config is clean for every profile and every overlay")
    for service in BUILT:
        started_s = time.monotonic()
        lab.compose("build", service, timeout_s=BUILD_TIMEOUT_S)
        say(f"built {service} in {time.monotonic() - started_s:.0f} s")
    for name, size_bytes in lab.image_sizes().items():
        say(f"  {name}: {size_bytes / 1e6:,.0f} MB")
    lab.compose("down", "--volumes", "--remove-orphans")
    try:
        mistakes.check(lab.folder, say)
        campaign(lab, arguments.screenshot, say)
        without_gvisor = () if gvisor.available() else ("deploy/compose.gvisor.yml (the runtime runsc)",)
        for what in (*NOT_RUN, *without_gvisor):
            say(f"not run: {what}")
    except LabError:
        print(lab.try_compose("logs", "--no-color", "--tail", "40").stdout)
        raise
    finally:
        if not arguments.keep:
            lab.compose("down", "--volumes", "--remove-orphans")


def campaign(lab: Lab, picture: Path | None, say: Say) -> None:
    """Run the campaign, kill things in between, and check what came out."""
    up_s = time.monotonic()
    lab.compose("up", "--detach", "--wait", "--wait-timeout", "300", *STARTED)
    say(f"up and healthy after {time.monotonic() - up_s:.0f} s")
    pools = chain.from_iterable(("--pool", pool) for pool in POOLS)
    say(lab.nnlite("submit", *MODELS, *pools, "--name", CAMPAIGN).strip().splitlines()[-2])

    _await(lab, "a conversion runs", "conversion", "running")
    lab.kill("convert")
    say("killed the converter during a conversion")
    _await(lab, "a benchmark of this machine runs", "benchmark", "running", "pool = 'host'")
    lab.kill("benchmark-host")
    say("killed the benchmark worker during a benchmark")
    await_("the first measurement", lambda: lab.count("SELECT count(*) AS n FROM measurement"), timeout_s=300)
    say(f"first measurement {time.monotonic() - up_s:.0f} s after up, two kills included")
    if picture:
        screenshot(f"http://127.0.0.1:{lab.flower_port}/tasks", ("nnlite", lab.flower_password), picture)
    lab.kill("redis")
    say("killed Redis")
    await_("work goes on", lambda: _ended(lab) >= 4, timeout_s=END_TIMEOUT_S)
    lab.kill("postgres")
    say("killed Postgres")
    await_("Postgres is back", lambda: lab.healthy("postgres"), timeout_s=120)
    left = _left(lab)
    lab.compose("down")
    say(f"down, with {left} conversions and benchmarks to do")
    lab.compose("up", "--detach", "--wait", "--wait-timeout", "300", *STARTED)
    say("up again")
    await_("every model is final", lambda: _ended(lab) and not _left(lab), timeout_s=END_TIMEOUT_S)
    check_results(lab, say)
    check_flower(lab, say)
    check_metrics(lab, say)
    check_alerts(lab, say)
    check_runtime(lab, say)
    check_rank(lab, say)
    runtimes.check(lab, say)
    isolation.check(lab, say)
    people.check(lab, say)
    backup.check(lab, STARTED, say)
    if gvisor.available():
        gvisor.check(lab, say)


def check_results(lab: Lab, say: Say) -> None:
    """Raise unless every model is final, once."""
    conversions = lab.query("""
SELECT m.name, c.state, c.failure_class, c.attempt FROM conversion c JOIN model m ON m.id = c.model_id""")
    _expect({row["name"] for row in conversions} == set(MODELS), f"conversions: {conversions}")
    _expect(len(conversions) == len(MODELS), f"conversions are doubled: {conversions}")
    failed = [row["name"] for row in conversions if row["state"] != "done"]
    _expect(failed == ["BayesianNet-3"], f"not converted: {conversions}")
    benchmarks = lab.query("""
SELECT m.name, b.pool, b.state, b.reason, x.verdict, d.kind,
       (SELECT count(*) FROM attempt a WHERE a.work_id = b.id AND a.outcome = 'done') AS finished
FROM benchmark b JOIN conversion c ON c.id = b.conversion_id JOIN model m ON m.id = c.model_id
LEFT JOIN measurement x ON x.benchmark_id = b.id LEFT JOIN device d ON d.id = x.device_id
WHERE b.run = 1 ORDER BY m.name, b.pool""")
    expected = sorted((name, pool) for name in MODELS if name != "BayesianNet-3" for pool in POOLS)
    _expect(sorted((row["name"], row["pool"]) for row in benchmarks) == expected, f"benchmarks: {benchmarks}")
    _expect(all(row["state"] == "done" for row in benchmarks), f"not measured: {benchmarks}")
    _expect(all(row["finished"] == 1 for row in benchmarks), f"finished more than once: {benchmarks}")
    for row in benchmarks:
        say(f"  {row['name']} on {row['pool']} ({row['kind']}): {row['verdict']}")
    ends = lab.query("SELECT outcome, count(*) AS n FROM attempt GROUP BY outcome ORDER BY outcome")
    say("attempts: " + ", ".join(f"{row['n']} {row['outcome']}" for row in ends))
    _expect(any(row["outcome"] in {"lost", "released"} for row in ends), "no kill left a trace")
    running = lab.count("SELECT count(*) AS n FROM attempt WHERE ended_at IS NULL")
    _expect(running == 0, f"{running} attempts never ended")


def check_flower(lab: Lab, say: Say) -> None:
    """Raise unless Flower shows workers and tasks to its user, and nothing to others."""
    status, _ = lab.http(lab.flower_port, "/api/workers")
    _expect(status == 401, f"Flower answers {status} to a stranger")
    for start in ("convert@", "benchmark-host@", "benchmark-tcp:device:5555@"):
        # It asks them and waits a second for their answers, which a busy machine may take longer for.
        await_(f"Flower shows {start}", lambda start=start: _worker(lab, start), timeout_s=120)
    say(f"Flower shows {', '.join(sorted(lab.flower('/api/workers')))}")
    # It sees what happens while it runs: a request that is done again gives it work to see.
    lab.nnlite("submit", "DarkNet", "--pool", "rig", "--name", "seen")
    task = await_("Flower shows the task", lambda: _task(lab), timeout_s=120)
    say(f"Flower shows {task['name']} {task['kwargs']}")


def check_metrics(lab: Lab, say: Say) -> None:
    """Raise unless Prometheus scrapes the reaper and has read the alerts."""

    def scraped() -> bool:
        _, body = lab.http(lab.prometheus_port, "/api/v1/query?query=nnlite_attempts_total")
        return '"service":"reaper"' in body

    await_("Prometheus scrapes the reaper", scraped, timeout_s=120)
    _, body = lab.http(lab.prometheus_port, "/api/v1/rules")
    _expect('"health":"err"' not in body and '"type":"alerting"' in body, f"rules: {body[:400]}")
    say("Prometheus scrapes the reaper and has read the alerts")


def check_alerts(lab: Lab, say: Say) -> None:
    """Raise unless Prometheus has found Alertmanager, which takes an alert."""

    def found() -> bool:
        _, body = lab.http(lab.prometheus_port, "/api/v1/alertmanagers")
        return ":9093/" in body.partition("droppedAlertmanagers")[0]

    await_("Prometheus finds Alertmanager", found, timeout_s=120)
    add = ("alert", "add", "Trial", "severity=critical")
    lab.compose(
        "exec", "--no-TTY", "alertmanager", "amtool", "--alertmanager.url=http://127.0.0.1:9093", *add
    )
    _, body = lab.http(lab.alertmanager_port, "/api/v2/alerts")
    _expect("Trial" in body and "at-once" in body, f"Alertmanager has no such alert: {body[:400]}")
    say("Prometheus has found Alertmanager, which takes a critical alert for those who are called at once")


def check_runtime(lab: Lab, say: Say) -> None:
    """Raise unless every artifact was tried with the phones' TensorFlow Lite, and some are accepted."""
    untried = """
SELECT count(*) AS n FROM artifact a WHERE NOT EXISTS (
    SELECT FROM runtime_check k WHERE k.artifact_sha256 = a.sha256 AND k.verdict IS NOT NULL)"""
    await_(
        "every artifact is tried", lambda: lab.healthy("postgres") and not lab.count(untried), timeout_s=300
    )
    checks = lab.query("SELECT verdict, count(*) AS n FROM runtime_check GROUP BY verdict ORDER BY verdict")
    _expect(any(row["verdict"] == "accepted" for row in checks), f"no artifact is accepted: {checks}")
    said = ", ".join(f"{row['n']} {row['verdict']}" for row in checks)
    say(f"the phones' TensorFlow Lite on artifacts: {said}")


def check_rank(lab: Lab, say: Say) -> None:
    """Raise unless rankings are answered to the token alone."""
    path = f"/v1/rank/{CAMPAIGN}"
    stranger, _ = lab.http(lab.rank_port, path)
    status, body = lab.http(lab.rank_port, path, authorization=f"Bearer {lab.rank_token}")
    _expect(stranger == 401, f"rankings answer {stranger} to a stranger")
    _expect(status == 200 and "MobileNetV3" in body, f"rankings answer {status}: {body[:400]}")
    say("rankings are answered to the token alone")


def _worker(lab: Lab, start: str) -> bool:
    return any(name.startswith(start) for name in lab.flower("/api/workers?refresh=1"))


def _task(lab: Lab) -> dict[str, str] | None:
    tasks = lab.flower("/api/tasks?limit=200").values()
    return next((task for task in tasks if "DarkNet" in str(task["kwargs"])), None)


def _await(lab: Lab, what: str, table: str, state: str, condition: str = "true") -> None:
    statement = f"SELECT count(*) AS n FROM {table} WHERE state = '{state}' AND {condition}"
    await_(what, lambda: lab.count(statement), timeout_s=300)


def _ended(lab: Lab) -> int:
    return lab.count("SELECT count(*) AS n FROM benchmark WHERE state NOT IN ('queued', 'running')")


def _left(lab: Lab) -> int:
    return lab.count("""
SELECT (SELECT count(*) FROM benchmark WHERE state IN ('queued', 'running'))
     + (SELECT count(*) FROM conversion WHERE state IN ('queued', 'running')) AS n""")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise LabError(otherwise)


if __name__ == "__main__":
    sys.exit(main())
