"""How nnlite was installed here, for messages that name a command to install more of it.

nnlite is installed from a checkout or from a wheel: the `nnlite` of PyPI is another project, so that
`pip install 'nnlite[host]'` would replace it.
"""

import json
import sys
from importlib.metadata import Distribution, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_NAME: Final = "nnlite"


def install_hint(extra: str) -> str:
    """Return the shell command that adds an extra to this installation."""
    return f"{_installer()} '{_origin(distribution(_NAME))}[{extra}]'"


def _origin(installed: Distribution) -> str:
    """Return the checkout or wheel that was installed, as its `direct_url.json` (PEP 610) has it."""
    url = json.loads(installed.read_text("direct_url.json") or "{}").get("url", "")
    path = unquote(urlsplit(url).path)
    if url.startswith("file:") and Path(path).exists():
        return path
    return f"{_NAME}-{installed.version}-py3-none-any.whl"


def _installer() -> str:
    if Path(sys.prefix, "uv-receipt.toml").is_file():
        return "uv tool install --force"
    return "pip install" if find_spec("pip") else f"uv pip install --python {sys.executable}"
