"""Print a table of one row to this terminal: `print_row.py MODEL`."""

import sys

from nnlite.cli.presenting.output import print_table

row = {"model": sys.argv[1], "size": "123.4 MB", "verdict": "throttled"}
print_table([row], ("model", "size", "verdict"))
