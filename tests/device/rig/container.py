"""A virtual device as a container, which listens for other containers on port 5555.

`python -m device.rig.container NAME HOME`. It identifies itself as an
emulator. A signal switches it off; what lasts lies in HOME.
"""

import sys
from pathlib import Path

from device.rig.guest import ADBD_PORT, Hardware
from device.rig.machine import Machine
from device.rig.properties import emulator_properties
from device.rig.runtimes_process import Runtimes

_EVERY_ADDRESS = ""


def main() -> None:
    """Run the device until it is asked to stop."""
    name, home = sys.argv[1], Path(sys.argv[2])
    runtimes = Runtimes()
    hardware = Hardware(
        name=name,
        home=home,
        faults=home / "faults",
        runtimes=runtimes.folder,
        properties=emulator_properties(name),
        boot_s=0.3,
        memory_mb=2048,
        data_kb=6 * 2**20,
        sensors=False,
    )
    Machine(hardware, adb_port=ADBD_PORT, address=_EVERY_ADDRESS).run()


if __name__ == "__main__":
    main()
