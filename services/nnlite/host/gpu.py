"""The NVIDIA GPUs of this machine, as their driver lists them; asking it this way opens none of them."""

import re
from pathlib import Path
from typing import Final

#: https://download.nvidia.com/XFree86/Linux-x86_64/570.86.16/README/procinterface.html
DRIVER: Final = Path("/proc/driver/nvidia")


def nvidia_gpus(driver: Path = DRIVER) -> tuple[list[str], str]:
    """Return the model of every GPU and the version of the driver; nothing where there is no driver."""
    try:
        said = (driver / "version").read_text()
        described = [file.read_text() for file in sorted(driver.glob("gpus/*/information"))]
    except OSError:
        return [], ""
    version = re.search(r"\b\d+\.\d+(\.\d+)?\b", said)
    models = [re.search(r"^Model:\s*(.+?)\s*$", text, re.MULTILINE) for text in described]
    return [found.group(1) for found in models if found], version.group() if version else "of unknown version"
