"""The host side of a virtual device: its guest, its adb connections and, for an emulator, its console.

One process, one thread; stopped by SIGSTOP nothing of the device answers, and
when it ends, however it ends, everything of the device ends with it.
"""

import os
import selectors
import shutil
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from device.rig.faults import FaultBox
from device.rig.guest import TICK_S, Guest, Hardware
from device.rig.wires import LOOPBACK, Wires


class Machine:
    """Runs one device until it is asked to stop."""

    def __init__(self, hardware: Hardware, *, adb_port: int, address: str = LOOPBACK) -> None:
        self.selector = selectors.DefaultSelector()
        self._hardware = hardware
        self._faults = FaultBox(hardware.faults)
        self._ended = False
        self._adb_port = adb_port
        self._address = address
        self._guest: Guest | None = None
        self._reboot_due = False
        self.wires: Wires | None = None
        self.plug()

    def plug(self) -> None:
        """Listen for adb hosts; OSError: the port is taken."""
        if self.wires is None:
            self.wires = Wires(
                self._adb_port,
                self._faults,
                self.selector,
                address=self._address,
                ask_guest=self._send_to_guest,
                reboot=self._reboot_soon,
            )

    def unplug(self) -> None:
        """Disconnect the adb host and stop listening."""
        if self.wires is not None:
            self.wires.close()
            self.wires = None

    def run(self, *, wipe: bool = False, resumed: bool = False) -> None:
        """Boot and serve until `stop` or a signal; everything has ended when this returns.

        Args:
            wipe: without its data.
            resumed: its data is that of a snapshot, of a device that had booted.
        """
        self._end_on_signals()
        running = self._faults.hold()
        self._faults.boot(wiped=wipe, resumed=resumed)
        if wipe:
            shutil.rmtree(self._hardware.home / "data", ignore_errors=True)
        self._start(resumed=resumed)
        while not self._ended:
            for key, events in self.selector.select(TICK_S):
                key.data(events)
            if self._reboot_due:
                self._reboot()
            if self.wires is not None:
                self.wires.tick()
        self.unplug()
        self._stop()
        running.close()

    def stop(self) -> None:
        """Have `run` return."""
        self._ended = True

    def _end_on_signals(self) -> None:
        wakeup, signalled = socket.socketpair()
        for end in (wakeup, signalled):
            end.setblocking(False)
        signal.set_wakeup_fd(signalled.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self.stop())
        self._signalled = signalled
        self.selector.register(wakeup, selectors.EVENT_READ, lambda _: wakeup.recv(64))

    def _start(self, *, resumed: bool = False) -> None:
        self._guest = Guest(replace(self._hardware, boot_s=0.0) if resumed else self._hardware)
        self.selector.register(self._guest.messages, selectors.EVENT_READ, self._receive)

    def _stop(self) -> None:
        if self._guest is not None:
            self.selector.unregister(self._guest.messages)
            self._guest.stop()
            self._guest = None
        if self.wires is not None:
            self.wires.guest_gone()

    def _reboot_soon(self) -> None:
        self._reboot_due = True

    def _reboot(self) -> None:
        self._reboot_due = False
        self._stop()
        self._faults.boot()
        self._start()

    def _send_to_guest(self, message: bytes) -> None:
        if self._guest is not None:
            self._guest.send(message)

    def _receive(self, _: int) -> None:
        assert self._guest is not None
        message, descriptors = self._guest.receive()
        if message == b"connected" and self.wires is not None:
            self.wires.connected(socket.socket(fileno=descriptors.pop()))
        elif message == b"refused" and self.wires is not None:
            self.wires.refused()
        elif message == b"reboot":
            self._reboot_soon()
        elif not message:
            self.stop()  # the guest ended, as by a kernel panic
        for descriptor in descriptors:
            with suppress(OSError):
                os.close(descriptor)


class LineServer:
    """Serves lines of text to any number of clients: consoles and controls."""

    def __init__(
        self,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        *,
        greeting: Callable[[], str],
        answer: Callable[[str, "LineServer.Client"], str | None],
    ) -> None:
        self._selector = selector
        self._greeting = greeting
        self._answer = answer
        selector.register(listener, selectors.EVENT_READ, lambda _: self._accept(listener))

    class Client:
        """One client of the server."""

        def __init__(self, connection: socket.socket) -> None:
            self.connection = connection
            self.unread = b""
            self.authorized = False

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.settimeout(1)
        client = LineServer.Client(connection)
        self._selector.register(connection, selectors.EVENT_READ, lambda _: self._serve(client))
        self._send(client, self._greeting())

    def _serve(self, client: "LineServer.Client") -> None:
        try:
            data = client.connection.recv(4096)
        except OSError:
            data = b""
        if not data:
            self._close(client)
            return
        *lines, client.unread = (client.unread + data).split(b"\n")
        for line in lines:
            answer = self._answer(line.decode(errors="replace").strip(), client)
            if answer is None:
                self._close(client)
                return
            self._send(client, answer)

    def _send(self, client: "LineServer.Client", text: str) -> None:
        with suppress(OSError):
            client.connection.sendall(text.encode())

    def _close(self, client: "LineServer.Client") -> None:
        with suppress(KeyError):
            self._selector.unregister(client.connection)
        client.connection.close()
