"""Stands for a user's hook: writes its input, and CAMPAIGN of its environment, into a file."""

import json
import os
import sys
from pathlib import Path

said = json.load(sys.stdin)
Path(sys.argv[1]).write_text(json.dumps({**said, "CAMPAIGN": os.environ["CAMPAIGN"]}))
