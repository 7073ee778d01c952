"""Import modules, and all modules of packages, and print what that imported: `import_packages.py NAME...`."""

import importlib
import json
import pkgutil
import sys

for name in sys.argv[1:]:
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}."):
        importlib.import_module(found.name)
print(json.dumps(sorted(sys.modules)))
