"""What a campaign waits for: workers that are missing, devices that take no work, and what is ahead of it."""

import shlex
from collections.abc import Collection
from dataclasses import dataclass

from nnlite.queue.app import CONVERT_QUEUE, benchmark_queue
from nnlite.results.reading import Database, Row, rows_of
from nnlite.vocabulary import CampaignState, DeviceStatus


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Why a campaign does not go on, and how long it may take."""

    #: Sentences, each with what to do; empty: workers can work on it.
    obstacles: tuple[str, ...]
    #: Models of other campaigns that are converted first.
    ahead: int
    #: Estimated time until the campaign's models are converted, at the rate of the last ten minutes; None:
    #: too few were finished to tell, or no conversion worker runs any more.
    seconds: float | None


def outlook(database: Database, name: str, served: Collection[str]) -> Outlook:
    """Return the outlook of a campaign.

    Args:
        served: names of the queues that living workers consume.
    """
    (campaign,) = rows_of(database, _CAMPAIGN, {"name": name})
    (rate,) = rows_of(database, _RATE, {})
    known = rate["models"] >= _FEWEST and CONVERT_QUEUE in served
    return Outlook(
        obstacles=tuple(_obstacles(database, campaign, served)),
        ahead=campaign["ahead"],
        seconds=(campaign["ahead"] + campaign["converting"]) / rate["models"] * 600 if known else None,
    )


#: Fewer models within ten minutes are no rate.
_FEWEST = 3


def _obstacles(database: Database, campaign: Row, served: Collection[str]) -> list[str]:
    if campaign["state"] == CampaignState.PAUSED:
        return [f"it is paused; nnlite resume {shlex.quote(campaign['name'])}"]
    if campaign["state"] == CampaignState.CANCELLED:
        return []
    found = []
    if campaign["converting"] and CONVERT_QUEUE not in served:
        found.append(
            "no conversion worker runs: start one with `nnlite worker convert`, unless one is starting"
        )
    waiting = set(campaign["waiting_pools"] or ()) | set(campaign["pools"] if campaign["converting"] else ())
    for pool in sorted(waiting):
        if benchmark_queue(pool) not in served:
            devices = rows_of(database, _DEVICES, {"pool": pool})
            known = [row["pool"] for row in rows_of(database, _POOLS, {})]
            found.append(_without_worker(pool, devices, known))
    return found


def _without_worker(pool: str, devices: list[Row], known: list[str]) -> str:
    """Return why nothing is measured in `pool`, which no worker serves."""
    start = f"`nnlite worker benchmark --pool {pool} --device ...`"
    if not devices:
        pools = f"; known pools are {', '.join(known)}" if known else ""
        return f"no worker serves pool {pool}, which never had a device{pools}; start one: {start}"
    for device in devices:
        if device["state"] == DeviceStatus.QUARANTINED:
            name, reason = device["name"], f" ({device['reason']})" if device["reason"] else ""
            return f"{name} of pool {pool} is quarantined{reason}; nnlite devices release {shlex.quote(name)}"
    states = ", ".join(f"{device['name']} ({device['state'].replace('_', ' ')})" for device in devices)
    return f"no worker takes work of pool {pool}: {states}; start one: {start}"


_CAMPAIGN = """
SELECT c.name, c.state, c.pools,
    (SELECT count(*) FROM conversion v WHERE v.campaign_id = c.id AND v.state IN ('queued', 'running'))
        AS converting,
    (SELECT array_agg(DISTINCT b.pool) FROM benchmark b
     WHERE b.campaign_id = c.id AND b.state IN ('queued', 'running')) AS waiting_pools,
    (SELECT count(*) FROM conversion v JOIN campaign o ON o.id = v.campaign_id
     WHERE v.state = 'queued' AND o.state = 'active' AND o.id <> c.id
       AND (o.priority > c.priority OR o.priority = c.priority AND o.created_at < c.created_at)) AS ahead
FROM campaign c WHERE c.name = :name
"""
_RATE = """
SELECT count(*) AS models FROM conversion
WHERE state <> 'skipped' AND finished_at > now() - interval '10 minutes'
"""
_DEVICES = "SELECT name, state, reason FROM device WHERE pool = :pool ORDER BY name"
_POOLS = "SELECT DISTINCT pool FROM device ORDER BY pool"
