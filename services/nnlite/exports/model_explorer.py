"""Exports profiles as node data of Model Explorer, which colours an artifact's graph by its nodes' times.

One JSON file for each profile, in the format of Model Explorer's `GraphNodeData`
(https://github.com/google-ai-edge/model-explorer, node_data_builder.py): values by the name of a node's
output.
"""

from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from nnlite.artifacts.store import file_name
from nnlite.exports.nothing import nothing_written
from nnlite.exports.writing import write_json
from nnlite.results.profiles import KEY, operators
from nnlite.results.reading import Row

_WAY_OUT = "nnlite run --profile makes profiles, nnlite profile shows them"
#: From the fastest node to the slowest.
_GRADIENT = [{"stop": 0, "bgColor": "#ffffff"}, {"stop": 1, "bgColor": "#e53935"}]


@dataclass(frozen=True, kw_only=True)
class NodeDataExported:
    """Summary of an export."""

    files: tuple[Path, ...]
    #: Share of the operators' time that belongs to no node with certainty, at most of all files.
    unattributed: float


def export_node_data(
    engine: Engine, folder: Path, campaign: str | None = None, model: str | None = None
) -> NodeDataExported:
    """Write one file for each profile of a campaign and return a summary.

    Raises:
        NnliteError: a file cannot be written, or there is no profile.
    """
    files, unattributed = [], 0.0
    for key, group in groupby(operators(engine, campaign, model), key=itemgetter(*KEY)):
        rows = list(group)
        *names, measurement = map(str, key)
        # First what differs between profiles: a long name is cut.
        path = folder / f"{file_name('-'.join((measurement[:8], *names)))}.json"
        write_json(path, node_data(rows))
        files.append(path)
        unattributed = max(unattributed, sum(row["share"] for row in rows if not row["output"]))
    if not files:
        with engine.connect() as connection:
            raise nothing_written(connection, {"campaigns": [campaign] if campaign else []}, _WAY_OUT)
    return NodeDataExported(files=tuple(files), unattributed=unattributed)


def node_data(rows: list[Row]) -> dict[str, Any]:
    """Return the node data of one profile: milliseconds of each node, of its operators together."""
    times_ms: dict[str, float] = {}
    for row in rows:
        if row["output"]:
            times_ms[row["output"]] = times_ms.get(row["output"], 0.0) + row["time_ns"] / 1e6
    return {"results": {name: {"value": value} for name, value in times_ms.items()}, "gradient": _GRADIENT}
