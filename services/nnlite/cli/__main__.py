"""`python -m nnlite.cli` is `nnlite`."""

from nnlite.cli import main

main()
