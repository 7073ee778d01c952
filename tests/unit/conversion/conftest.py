"""The converter's libraries, imported before the tests that import parts of them.

At import and not in a fixture: their own imports warn, and warnings are errors in tests.
"""

from nnlite_conversion.preload import preload

preload()
