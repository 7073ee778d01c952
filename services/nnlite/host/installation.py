"""How nnlite was installed here: for messages that name a command to install more of it, and who may read it.

nnlite is installed from a checkout or from a wheel: the `nnlite` of PyPI is another project, so that
`pip install 'nnlite[host]'` would replace it.
"""

import json
import os
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


def why_model_code_is_root() -> str | None:
    """Return why model code runs as root here and what to do about it; None: it does not.

    As root nnlite runs it as another account, which must be able to read Python and nnlite.
    """
    if os.geteuid() != 0:
        return None
    parts = (sys.executable, sys.prefix, sys.base_prefix, __file__)
    private = next((step for part in parts if (step := _private_step(Path(part).resolve()))), None)
    if private is None:
        return None
    return (
        f"model code runs as root: only root may read {private}, where nnlite's Python is; install it where "
        "every account may read: /usr/bin/python3 -m venv /opt/nnlite"
    )


def _private_step(path: Path) -> Path | None:
    """Return the outermost part of a path that accounts without rights cannot read or enter."""
    for step in (*reversed(path.parents), path):
        needed = 0o001 if step != path else 0o005 if step.is_dir() else 0o004
        if step.stat().st_mode & needed != needed:
            return step
    return None


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
