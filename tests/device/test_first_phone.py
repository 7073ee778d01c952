"""`make first-phone` on a virtual phone: a page that says what held and what did not."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from device.lab import QUICK
from device.rig.faults import Fault
from device.rig.fetch import CHECKOUT
from device.rig.rig import Rig, RigPhone
from device.rig.runtimes_process import shared
from first_phone import Page, attached_phone, main
from nnlite.backends import BACKENDS
from nnlite.errors import UsageError
from nnlite.vocabulary import DeviceKind
from waiting import HANG_S


def phone_on_usb(usb: Path, port: str, serial: str, protocol: str = "01") -> None:
    (usb / port).mkdir(parents=True)
    (usb / port / "serial").write_text(f"{serial}\n")
    interface = usb / f"{port}:1.1"
    interface.mkdir()
    for part, value in (("Class", "ff"), ("SubClass", "42"), ("Protocol", protocol)):
        (interface / f"bInterface{part}").write_text(f"{value}\n")


def test_the_only_phone_on_usb_is_the_one_to_try(tmp_path: Path):
    phone_on_usb(tmp_path, "1-2", "BOOTLOADER", protocol="03")
    with pytest.raises(UsageError, match="debugging on: none; attach one"):
        attached_phone(tmp_path)
    phone_on_usb(tmp_path, "1-4.1", "R58M12ABCDE")
    assert attached_phone(tmp_path) == "usb:R58M12ABCDE"
    phone_on_usb(tmp_path, "2-1", "9A211FFAZ0003T")
    with pytest.raises(UsageError, match="9A211FFAZ0003T, R58M12ABCDE; attach one"):
        attached_phone(tmp_path)


@pytest.mark.parametrize("device", ["host", "avd:pixel4-1"])
def test_what_is_no_phone_is_refused(device: str, monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["first_phone.py", device])
    assert main() == 1
    assert capsys.readouterr().err == (
        f"first-phone: {device} is no phone: PHONE is usb:SERIAL or tcp:HOST:PORT\n"
    )


def test_what_a_phone_prints_does_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]):
    page = Page(hidden="R58M12ABCDE")
    page.add("it answers", True, "\x1b[2J\x07 R58M12ABCDE:\n| b" + "x" * 1000)
    assert (page.rows[0][2][:19], len(page.rows[0][2])) == ("[2J the phone: | bx", 300)
    assert "\x1b" not in capsys.readouterr().out + page.markdown()


def page_of(phone: RigPhone, folder: Path, **settings: str) -> str:
    """Try a phone; return the page."""
    shared().warm_up()
    page, apk = folder / "page.md", folder / "app.apk"
    with zipfile.ZipFile(apk, "w") as package:
        package.writestr("AndroidManifest.xml", "the rig takes any app")
    program = [sys.executable, CHECKOUT / "tools" / "first_phone.py", f"tcp:{phone.address}"]
    # Not those of the queue, which it has none of. It measures the canary, which computes longer than others.
    quick = {name: value for name, value in QUICK.items() if not name.startswith("QUEUE__")}
    quick["MEASUREMENT__MIN_RUNS"] = "3"
    tried = subprocess.run(
        [*program, "--apk", apk, "--output", page, "--seconds", "1"],
        env={f"NNLITE_{name}": value for name, value in (quick | settings).items()},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert page.exists(), tried.stdout + tried.stderr
    assert tried.returncode == 1
    return page.read_text()


def test_a_phone_that_goes_away_gives_a_page_too(rig: Rig, tmp_path: Path):
    phone = rig.phone("gone")
    phone.fault(Fault.SHELL_HANGS, command="simpleperf --version")
    # Waited out once, by the command that hangs; every other command must end within it on a busy machine.
    text = page_of(phone, tmp_path, ANDROID__COMMAND_TIMEOUT_S="30")
    assert "| the page size is known | yes | 4096 |" in text
    assert "| the phone answers to the end | **no** | no_answer: " in text
    assert phone.address not in text


def test_a_phone_that_was_never_tried_gives_a_page(rig: Rig, tmp_path: Path):
    phone = rig.phone("first")
    text = page_of(phone, tmp_path)
    assert text.startswith("# nnlite on rig rig, Android 11")
    assert "| the phone becomes ready and computes the canary rightly | yes |" in text
    assert "| the app is in front (cpu) | yes | in_front: True |" in text
    assert "| the canary is measured on the gpu | **no** | " in text
    assert "| battery saver is off | yes | null |" in text
    assert "| simpleperf is there | **no** |" in text
    assert "| power rails tell their energy | **no** |" in text
    assert "| perfetto traces power rails | **no** |" in text
    assert re.search(r"\| the thermal status is followed \(from API 29\) \| yes \| [1-9]", text)
    assert re.search(r"\| the measuring thread is bound to the fast cores \| yes \| cores \(\d+,\) \|", text)
    assert "| energy of an inference is measured | **no** | the phone has no power rails" in text
    assert "| simpleperf counts events of the app | **no** |" in text
    assert "| the shell may read the app's files | yes |" in text
    assert "| the clocks are fixed (cpu) | yes | fixed: no objection |" in text
    measured = set(re.findall(r"the canary is measured on the (\S+) ", text))
    assert measured == set(BACKENDS[DeviceKind.PHONE])
    assert "counted from the log (cpu-plain)" not in text
    assert phone.address not in text
