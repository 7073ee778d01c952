"""The line of a model's code at which the interpreter crashed or hung, from what faulthandler writes."""

import pytest

from nnlite_conversion.culprit import crashed_at, hung_at

CODE = "\n".join(f"line {number}" for number in range(1, 10))
BODY = '  File "/x/nnlite_conversion/pipeline/body.py", line 60 in run\n'
OTHER = 'Thread 0x0001 (most recent call first):\n  File "/scratch/net.py", line 2 in wait\n\n'
CURRENT = 'Current thread 0x0002 (most recent call first):\n  File "/scratch/net.py", line 7 in forward\n'


@pytest.mark.parametrize(
    ("threads", "line"),
    [
        (f"{CURRENT}{BODY}", "net.py:7: line 7"),
        (f"{OTHER}{CURRENT}{BODY}", "net.py:7: line 7"),
        (f"{CURRENT}  ...\n", "net.py:7: line 7"),
        (f"{OTHER}Current thread 0x0002 (most recent call first):\n  <no Python frame>\n", None),
        (CURRENT, None),
    ],
)
def test_the_crashed_thread_names_the_line(threads, line):
    found = crashed_at(f"a warning\nFatal Python error: Aborted\n\n{threads}", CODE)

    assert (found and str(found)) == line


@pytest.mark.parametrize(
    ("threads", "line"),
    [
        (f"{OTHER}{CURRENT}{BODY}", "net.py:7: line 7"),
        (f"{CURRENT}{BODY}\n{OTHER}  ...\n", "net.py:7: line 7"),
        (f"{OTHER}  ...\n\nCurrent thread 0x0002 (most recent call first):\n{BODY}", None),
        ("", None),
    ],
)
def test_the_main_thread_names_the_line_of_a_hang(threads, line):
    found = hung_at(threads, CODE)

    assert (found and str(found)) == line
