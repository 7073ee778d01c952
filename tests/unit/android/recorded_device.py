"""A simulated device shell that prints recorded output of a real device, and nothing for other commands."""

import re
from pathlib import Path

RECORDED = Path(__file__).with_name("recorded")
COMMAND = re.compile(r"echo '(nnlite-answer:(\w+))'")


def recorded(device):
    """Return a `shell_output` that prints the recorded file for each command."""
    folder = RECORDED / device
    assert folder.is_dir(), f"nothing is recorded of {device}"
    return device_printing({path.name: path.read_bytes().decode() for path in folder.iterdir()})


def device_printing(outputs):
    """Return a `shell_output` that prints `outputs` as a shell would, including marks."""

    def shell_output(line):
        return "".join(f"\n{mark}\n{outputs.get(name, '')}" for mark, name in COMMAND.findall(line))

    return shell_output
