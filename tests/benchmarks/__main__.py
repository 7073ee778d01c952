"""`python -m benchmarks [NAME...]`: run benchmarks, print a table, write build/benchmarks.json."""

import importlib
import json
import os
import platform
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

NAMES = (
    "catalogue", "queue_rate", "quiet", "gating", "twice", "load", "overhead", "conversions", "precisions",
    "campaign", "app_runtime", "start_up", "cores", "memory",
)  # fmt: skip
#: Run only where it is named: it installs another revision from the package index.
ON_REQUEST = ("against",)
RESULTS = Path("build/benchmarks.json")


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all that need no network."""
    known = NAMES + ON_REQUEST
    if unknown := [name for name in names if name not in known]:
        print(f"unknown benchmark {unknown[0]}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    results: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(),
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.platform()}",
    }
    table = Table("benchmark", "figure", "value", title=f"{results['at']} on {results['machine']}")
    for name in names or NAMES:
        print(f"running {name} ...", file=sys.stderr)
        results[name] = importlib.import_module(f"benchmarks.{name}").run()
        for figure, value in flat(results[name]):
            table.add_row(name, figure, str(value))
        table.add_section()
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(_ratios(results))
    print(f"written to {RESULTS}", file=sys.stderr)
    return 0


def processor() -> str:
    """Return the processor's name, or its architecture where the kernel names none."""
    names = re.findall(r"^model name\s*: (.+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return names[0] if names else platform.machine()


def _ratios(results: dict[str, Any]) -> str:
    """Return a Markdown table of the figures that are relative to an anchor of the same run."""
    rows = [
        f"| {name} | {figure} | {value} |"
        for name in NAMES + ON_REQUEST
        for figure, value in flat(results.get(name, {}))
        if figure.endswith("ratio") and figure != "expected_ratio"
    ]
    return "\n".join(
        [
            f"{results['machine']}, {results['at']}",
            "",
            "| benchmark | ratio | value |",
            "|---|---|---|",
            *rows,
        ]
    )


def flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return figures with dotted names, nested ones included, lists left out."""
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += flat(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            rows.append((f"{prefix}{key}", value))
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
