"""Generates the JSON Schema of benchmark reports from their classes: `make schema`."""

import json
import sys
from typing import Any

from pydantic.json_schema import models_json_schema

from nnlite.reports.schema import SCHEMA_FILE, BenchmarkReport, RunReport


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a benchmark report; `$defs` has the other reports, `RunReport` too."""
    _, schema = models_json_schema(
        [(BenchmarkReport, "serialization"), (RunReport, "serialization")], title="NN Lite benchmark report"
    )
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **schema, "$ref": "#/$defs/BenchmarkReport"}


def schema_text() -> str:
    """Return the text of `report.schema.json`."""
    return json.dumps(json_schema(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
    sys.stdout.write(f"wrote {SCHEMA_FILE}\n")
