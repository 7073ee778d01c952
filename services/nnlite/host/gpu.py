"""Lists the NVIDIA GPUs of this machine from /proc, without opening them."""

import re
from pathlib import Path
from typing import Final

#: https://download.nvidia.com/XFree86/Linux-x86_64/570.86.16/README/procinterface.html
DRIVER: Final = Path("/proc/driver/nvidia")


def nvidia_gpus(driver: Path = DRIVER) -> tuple[list[str], str]:
    """Return the model of every GPU and the version of the driver; empty without a driver."""
    try:
        version_text = (driver / "version").read_text()
        descriptions = [file.read_text() for file in sorted(driver.glob("gpus/*/information"))]
    except OSError:
        return [], ""
    version = re.search(r"\b\d+\.\d+(\.\d+)?\b", version_text)
    models = [re.search(r"^Model:\s*(.+?)\s*$", text, re.MULTILINE) for text in descriptions]
    return [match.group(1) for match in models if match], version.group() if version else "of unknown version"
