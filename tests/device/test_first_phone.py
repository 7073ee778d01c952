"""`make first-phone` on a virtual phone: a page that says what held and what did not."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

from device.lab import QUICK
from device.rig.fetch import CHECKOUT
from device.rig.rig import Rig
from device.rig.runtimes_process import shared
from nnlite.backends import BACKENDS
from nnlite.vocabulary import DeviceKind
from waiting import HANG_S


def test_a_phone_that_was_never_tried_gives_a_page(rig: Rig, tmp_path: Path):
    shared().warm_up()
    phone, page, apk = rig.phone("first"), tmp_path / "page.md", tmp_path / "app.apk"
    with zipfile.ZipFile(apk, "w") as package:
        package.writestr("AndroidManifest.xml", "the rig takes any app")
    program = [sys.executable, CHECKOUT / "tools" / "first_phone.py", f"tcp:{phone.address}"]
    tried = subprocess.run(
        [*program, "--apk", apk, "--output", page],
        # Not those of the queue, which it has none of.
        env={f"NNLITE_{name}": value for name, value in QUICK.items() if not name.startswith("QUEUE__")},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )

    assert page.exists(), tried.stdout + tried.stderr
    assert tried.returncode == 1
    text = page.read_text()
    assert text.startswith("# nnlite on rig rig, Android 11")
    assert "| the phone becomes ready and computes the canary rightly | yes |" in text
    assert "| the app is in front (cpu) | yes | in_front: True |" in text
    assert "| the canary is measured on the gpu | **no** | " in text
    assert "| battery saver is off | yes | null |" in text
    assert "| simpleperf is there | **no** |" in text
    assert "| power rails tell their energy | **no** |" in text
    assert "| perfetto traces power rails | **no** |" in text
    assert "| the clocks are fixed (cpu) | " in text
    measured = set(re.findall(r"the canary is measured on the (\S+) ", text))
    assert measured == set(BACKENDS[DeviceKind.PHONE])
    assert "counted from the log (cpu-plain)" not in text
    assert phone.address not in text
