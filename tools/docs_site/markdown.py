"""Pieces of Markdown that generated pages consist of."""

import html
import re
from collections.abc import Iterable, Sequence


def code(text: object) -> str:
    """Return text as inline code, also within a table, where Markdown's own has no `|`."""
    return f"<code>{html.escape(str(text)).replace('|', '&#124;')}</code>"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; cells may have Markdown, and lose their line breaks."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(value: object) -> str:
    text = " ".join(str(value).split()).replace("|", "\\|")
    return re.sub(r"<(?!/?code>)", "&lt;", text)
