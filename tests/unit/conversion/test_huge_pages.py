"""The memory of a process that forks conversions is put into huge pages, where the kernel has them."""

import subprocess
import sys

from nnlite_conversion.isolation.huge_pages import into_huge_pages

#: Prints the number of huge pages, the memory in huge pages in KiB, and whether the content is what it was.
PROGRAM = """
import re
from pathlib import Path
from nnlite_conversion.isolation.huge_pages import into_huge_pages

block = bytearray(range(256)) * (64 << 12)
pages = into_huge_pages()
held = int(re.search(r"AnonHugePages: +([0-9]+)", Path("/proc/self/smaps_rollup").read_text())[1])
print(pages, held, block == bytearray(range(256)) * (64 << 12))
"""


def test_private_memory_is_put_into_huge_pages_and_keeps_its_content():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    pages, held_kb, same = result.stdout.split()

    assert int(held_kb) >= int(pages) * 1024
    assert same == "True"


def test_nothing_happens_where_the_kernel_has_no_huge_pages(tmp_path, monkeypatch):
    monkeypatch.setattr("nnlite_conversion.isolation.huge_pages._SIZE_FILE", tmp_path / "none")

    assert into_huge_pages() == 0
