"""A virtual phone: a device without an emulator, on a TCP port, in a separate process.

`python -m device.rig.phone CONTROL_SOCKET PORT NAME HOME FAULTS BOOT_S RUNTIMES`; on
the control socket, a line `plug`, `unplug` or `stop` is answered by `OK`.
"""

import socket
import sys
from pathlib import Path

from device.rig.guest import Hardware
from device.rig.machine import LineServer, Machine
from device.rig.namespaces import die_with_parent
from device.rig.properties import phone_properties


def main() -> None:
    """Run the phone until it is asked to stop or its parent ends."""
    die_with_parent()
    control, port, name, home, faults, boot_s, runtimes = sys.argv[1:]
    hardware = Hardware(
        name=name,
        home=Path(home),
        faults=Path(faults),
        runtimes=Path(runtimes),
        properties=phone_properties(name),
        boot_s=float(boot_s),
        memory_mb=6144,
        data_kb=64 * 2**20,
        sensors=True,
    )
    machine = Machine(hardware, adb_port=int(port))

    def answer(line: str, _: LineServer.Client) -> str:
        {"plug": machine.plug, "unplug": machine.unplug, "stop": machine.stop}[line]()
        return "OK\n"

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(control)
    listener.listen()
    LineServer(listener, machine.selector, greeting=lambda: "", answer=answer)
    print("ready", flush=True)
    machine.run()


if __name__ == "__main__":
    main()
