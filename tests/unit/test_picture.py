"""The picture of a terminal in the README is drawn from the recording next to it."""

from pathlib import Path

import pytest
from rich.text import Text

from picture import COLUMNS, picture

ASSETS = Path(__file__).parents[2] / "docs/assets"
RECORDINGS = sorted(ASSETS.glob("*.txt"))


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_a_picture_is_that_of_its_recording(recording):
    text = recording.read_text()
    assert picture(text) + "\n" == recording.with_suffix(".svg").read_text()
    assert max(Text.from_ansi(line).cell_len for line in text.splitlines()) <= COLUMNS


def test_a_picture_loads_nothing():
    shown = picture("$ make nothing\n\x1b[1mbold\x1b[0m\n")
    assert "bold" in shown
    assert "url(" not in shown.replace("url(#terminal", "")
