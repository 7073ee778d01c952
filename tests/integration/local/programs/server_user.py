"""A user of embedded servers: `server_user.py HOME` enters, prints where they are, leaves on a line of input.

An interrupt does not end it.
"""

import json
import sys
from pathlib import Path

from nnlite.local import servers
from nnlite.settings import LocalSettings, Settings

local = LocalSettings(start_timeout_s=600, stop_timeout_s=600)
settings = Settings(home=Path(sys.argv[1]), database_url=None, broker_url=None, local=local, _env_file=None)
with servers(settings) as endpoints:
    try:
        print(json.dumps([endpoints.database_url, endpoints.broker_url]), flush=True)
        sys.stdin.readline()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.stdin.readline()
