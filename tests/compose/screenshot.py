"""Pictures of the lab's pages by a headless Chromium, for the documentation; Debian's `chromium`."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from compose.lab import LabError

TIMEOUT_S = 120
#: Longest that a page may go on loading, milliseconds of its own clock.
_PATIENCE_MS = 8000


def screenshot(url: str, account: tuple[str, str], picture: Path) -> None:
    """Write what `url` shows to `account` (user, password) as a PNG of 1700 by 700.

    Raises:
        LabError: there is no Chromium, or it made no picture.
    """
    if not shutil.which("chromium"):
        raise LabError("a screenshot needs Chromium: apt-get install chromium")
    parts = urlsplit(url)
    user, password = account
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            ["chromium", "--headless", "--disable-gpu", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-first-run", "--hide-scrollbars",
             *(["--no-sandbox"] if os.geteuid() == 0 else []),
             f"--user-data-dir={profile}", "--window-size=1700,700",
             f"--virtual-time-budget={_PATIENCE_MS}", f"--screenshot={picture.absolute()}",
             parts._replace(netloc=f"{user}:{password}@{parts.netloc}").geturl()],
            capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    if not picture.exists():
        raise LabError(f"Chromium made no picture of {url}: {done.stderr[-500:]}")
