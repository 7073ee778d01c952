"""Draws a terminal's recorded output as SVG: `python tools/picture.py RECORDING PICTURE`.

The recording is text with escape codes, as `script --quiet --command COMMAND RECORDING` writes it at 80
columns, with the command as its first line; the picture loads no font from another host.
docs/assets/results.txt is of models of `make demo` on a machine that other programs were using.
"""

import re
import sys
from io import StringIO
from pathlib import Path
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

COLUMNS: Final = 80
#: The style that rich writes, without its font from a content delivery network.
_FORMAT: Final = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code, monospace", "'DejaVu Sans Mono', Menlo, Consolas, monospace"
)


def picture(recording: str) -> str:
    """Return the SVG of a recording; its title is the command."""
    title = recording.partition("\n")[0].removeprefix("$ ")
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True, legacy_windows=False)
    for line in recording.replace("\r\n", "\n").rstrip().split("\n"):
        console.print(Text.from_ansi(line), soft_wrap=True)
    return console.export_svg(title=title, code_format=_FORMAT, unique_id="terminal")


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:3])
    target.write_text(picture(source.read_text(encoding="utf-8")) + "\n", encoding="utf-8")
