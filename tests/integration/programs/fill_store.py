"""Put a file that fits and one that does not into a store: `fill_store.py STORE SMALL LARGE`.

Prints the error, what the first one contains, and whether it is all that there is.
"""

import sys
from pathlib import Path

from nnlite.artifacts.store import ArtifactStore, StoreError

store = ArtifactStore(sys.argv[1], Path("cache"))
small, large = Path(sys.argv[2]), Path(sys.argv[3])
path = store.put(small, ".bin")
try:
    store.put(large, ".tflite")
except StoreError as error:
    print(error)
print(store.fetch(path).read_bytes())
print(sorted(file.name for file in Path(sys.argv[1]).rglob("*") if file.is_file()) == [Path(path).name])
