"""Notebooks of the documentation: run, and as pages of the site.

    PYTHONPATH=tools python -m docs_site.notebooks docs/guides/results.ipynb

runs one on the database that the settings name, and writes its outputs into it. Cells are plain Python, so
that no Jupyter is needed; one is to open and change them.
"""

import ast
import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

Notebook = dict[str, Any]


def read(file: Path) -> Notebook:
    """Return a notebook from its file."""
    notebook: Notebook = json.loads(file.read_text(encoding="utf-8"))
    return notebook


def executed(notebook: Notebook) -> Notebook:
    """Return a notebook with the outputs that its cells have now; a cell's error is raised."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cells, number = [], 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            number += 1
            output = _run("".join(cell["source"]), namespace)
            stream = {"output_type": "stream", "name": "stdout", "text": output.splitlines(keepends=True)}
            outputs = [stream] if output else []
            cells.append({**cell, "execution_count": number, "outputs": outputs})
        else:
            cells.append(cell)
    return {**notebook, "cells": cells}


def notebook_page(file: Path) -> str:
    """Return a notebook as Markdown: its text, code and recorded outputs."""
    return "\n\n".join(part for cell in read(file)["cells"] for part in _parts(cell)) + "\n"


def _run(source: str, namespace: dict[str, Any]) -> str:
    """Run a cell and return what it prints, the value of its last expression included."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    with redirect_stdout(StringIO()) as printed:
        exec(compile(ast.Module(body, []), "<cell>", "exec"), namespace)  # noqa: S102
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), namespace)  # noqa: S307
            if value is not None:
                print(value)
    return printed.getvalue()


def _parts(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        yield f"```text\n{''.join(output['text']).rstrip()}\n```"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        text = json.dumps(executed(read(Path(name))), indent=1, ensure_ascii=False) + "\n"
        Path(name).write_text(text, encoding="utf-8")
