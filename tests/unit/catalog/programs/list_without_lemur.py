"""List LEMUR where no package of that name can be found: `list_without_lemur.py HOME`."""

import importlib.util
import sys
from pathlib import Path

from nnlite.catalog.lemur.source import LemurSource
from nnlite.settings import Settings

importlib.util.find_spec = lambda name: None
LemurSource(Settings(home=Path(sys.argv[1]), lemur=None, _env_file=None)).models()
