"""Lets nn-dataset build its database of the tree of the package that is imported, unmodified."""

import sys
from types import ModuleType

# Imported by its other functions; this one needs neither.
for unused in ("torch", "zstandard"):
    sys.modules[unused] = ModuleType(unused)

from ab.nn.util.db.Write import init_population  # noqa: E402

init_population()
