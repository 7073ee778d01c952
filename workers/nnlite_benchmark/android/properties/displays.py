"""Tells whether the screen is recorded or shown elsewhere: `dumpsys display`, `dumpsys media_projection`.

The texts are those of `DisplayDeviceInfo.toString` and `MediaProjectionManagerService.dump` (bytecode of
Android 8, 11, 14 and 15). Whoever records costs the device time on the GPU and the video encoder.
"""

import re
from typing import Final

_DEVICE: Final = re.compile(r'DisplayDeviceInfo\{"[^"]*"')
_TYPE: Final = re.compile(r", type ([A-Z]+)")
#: `Display.typeToString` of all that is not the built-in screen.
_ELSEWHERE: Final = frozenset({"EXTERNAL", "HDMI", "WIFI", "OVERLAY", "VIRTUAL"})
_PROJECTION: Final = re.compile(r"^Media Projection:\s*^(.+)$", re.MULTILINE)


def is_mirrored(displays: str, projection: str) -> bool | None:
    """Return whether there is a display besides the built-in ones, or a projection; None: unknown."""
    devices = displays.splitlines() if _DEVICE.search(displays) else []
    types = {match[1] for line in devices if (match := _TYPE.match(line))}
    projected = match[1].strip() != "null" if (match := _PROJECTION.search(projection)) else None
    if types & _ELSEWHERE or projected:
        return True
    return False if types or projected is False else None
