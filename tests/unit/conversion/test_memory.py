"""The memory that a conversion frees is used for what it allocates next."""

import subprocess
import sys

#: Prints how many pages the kernel gives for a second block of 64 MB, after the first one was freed.
PROGRAM = """
import resource
from nnlite_conversion.pipeline.memory import keep_freed_memory

keep_freed_memory()
bytearray(64 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bytearray(64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_a_large_block_is_used_again():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 100
