"""Import modules, and all modules of packages: `import_packages.py NAME...`.

`NAME:FUNCTION` calls a function of a module instead of importing what is below it. Prints what is imported
after each, a line of JSON.
"""

import importlib
import json
import pkgutil
import sys

for argument in sys.argv[1:]:
    name, _, function = argument.partition(":")
    module = importlib.import_module(name)
    if function:
        getattr(module, function)()
    else:
        for found in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}."):
            importlib.import_module(found.name)
    print(json.dumps(sorted(sys.modules)))
