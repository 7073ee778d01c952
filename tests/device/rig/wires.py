"""Forwards connections between adb servers and a device's adbd, and injects connection faults.

Speaks as much of adb's protocol as it must
(packages/modules/adb/protocol.txt in AOSP): whole messages from the host, of
which it looks at what is opened; bytes from the device.
"""

import select
import selectors
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from device.rig.faults import Fault, FaultBox
from device.rig.messages import AUTH, AUTH_KEY, AUTH_TOKEN, CNXN, OKAY, OPEN, WRTE, Framer, Message

LOOPBACK: Final = "127.0.0.1"
_HANG: Final = b"sleep 1000000"
_CHUNK: Final = 256 * 1024
#: Unsent bytes above which the other side is not read.
_ENOUGH: Final = 4 * 1024 * 1024


class Wires:
    """The adb port of one device."""

    def __init__(
        self,
        port: int,
        faults: FaultBox,
        selector: selectors.BaseSelector,
        *,
        address: str,
        ask_guest: Callable[[bytes], None],
        reboot: Callable[[], None],
    ) -> None:
        self._faults = faults
        self._selector = selector
        self._ask_guest = ask_guest
        self._reboot = reboot
        self._waiting: deque[socket.socket] = deque()
        self._link: _Link | None = None
        self._asked = False
        self._silenced = False
        self.listener = listen(port, address)
        selector.register(self.listener, selectors.EVENT_READ, self._accept)

    def tick(self) -> None:
        """Apply the faults, and connect a waiting host."""
        self._remove_disconnected_hosts()
        silent = self._faults.on(Fault.OFFLINE) or self._faults.on(Fault.UNAUTHORIZED)
        if silent != self._silenced:
            self._silenced = silent
            self.drop()
        if self._link is None and self._waiting and not self._faults.on(Fault.OFFLINE):
            self._connect_next()

    def connected(self, guest: socket.socket) -> None:
        """Take the connection to adbd that was asked for."""
        self._asked = False
        if not self._waiting or self._silenced:
            guest.close()
            return
        self._link = _Link(self._waiting.popleft(), guest, self)

    def refused(self) -> None:
        """Note that adbd does not run yet; the next tick asks again."""
        self._asked = False

    def drop(self) -> None:
        """End the connection of the host that is served."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def close(self) -> None:
        """End every connection and stop listening."""
        self._selector.unregister(self.listener)
        self.listener.close()
        self.drop()
        for host in self._waiting:
            host.close()
        self._waiting.clear()

    def guest_gone(self) -> None:
        """Drop the connection: the guest ended, and adbd with it."""
        self._asked = False
        self.drop()

    def watch(self, sock: socket.socket, events: int, call: Callable[[int], None]) -> None:
        """Call `call` for these events of a socket; 0: stop watching it."""
        known = sock in self._selector.get_map()
        if not events:
            if known:
                self._selector.unregister(sock)
        elif known:
            self._selector.modify(sock, events, call)
        else:
            self._selector.register(sock, events, call)

    def ended(self) -> None:
        """Drop the link, one end of which has disconnected."""
        if self._link is not None and self._link.keyless:
            self._faults.occurs(Fault.UNAUTHORIZED)
        self.drop()

    def passes(self, message: Message, link: "_Link") -> bool:
        """Inspect a message of the host, and perhaps change it; False: it is not forwarded."""
        if message.command == OPEN and message.payload.startswith(b"reboot:"):
            link.to_host(Message(OKAY, 1, message.first).bytes())
            self._reboot()
            return False
        if message.command == OPEN and message.payload.startswith((b"shell", b"exec")):
            self._hang(message)
        pushed = message.command == WRTE and link.pushes(message.payload)
        if pushed and self._faults.occurs(Fault.DIES_MID_PUSH) is not None:
            message.payload = message.payload[: len(message.payload) // 2]
            link.to_guest(message.bytes())
            self._ask_guest(b"kill_adbd")
            return False
        return True

    def _remove_disconnected_hosts(self) -> None:
        for host in list(self._waiting):
            poll = select.poll()
            poll.register(host, select.POLLRDHUP)
            if poll.poll(0):
                self._waiting.remove(host)
                host.close()
                self._faults.occurs(Fault.OFFLINE)

    def _hang(self, message: Message) -> None:
        command = self._faults.command(Fault.SHELL_HANGS)
        service, _, line = message.payload.rstrip(b"\0").partition(b":")
        if command is None or command.parameters.get("command", "").encode() not in line:
            return
        if self._faults.occurs(Fault.SHELL_HANGS) is not None:
            message.payload = service + b":" + _HANG + b"\0"

    def _accept(self, _: int) -> None:
        with suppress(BlockingIOError):
            host, _address = self.listener.accept()
            host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._waiting.append(host)
        self.tick()

    def _connect_next(self) -> None:
        if self._faults.on(Fault.UNAUTHORIZED):
            self._link = _Link(self._waiting.popleft(), None, self)
        elif not self._asked:
            self._asked = True
            self._ask_guest(b"connect")


class _Link:
    """One host and adbd, or one host that is always asked for a key."""

    def __init__(self, host: socket.socket, guest: socket.socket | None, wires: Wires) -> None:
        self._wires = wires
        self._framer = Framer()
        self._host, self._guest = _End(host), _End(guest) if guest else None
        #: Whether its host is always asked for a key.
        self.keyless = guest is None
        self._pushing = False
        self._watch()

    def close(self) -> None:
        for end in (self._host, self._guest):
            if end is not None:
                self._wires.watch(end.socket, 0, self._host_event)
                end.socket.close()

    def to_host(self, data: bytes) -> None:
        """Send bytes to the host."""
        self._host.unsent += data
        self._flush(self._host)

    def to_guest(self, data: bytes) -> None:
        """Send bytes to adbd."""
        assert self._guest is not None
        self._guest.unsent += data
        self._flush(self._guest)

    def pushes(self, payload: bytes) -> bool:
        """Whether a payload is data of a push (see adb's SYNC.TXT)."""
        if payload.startswith((b"SEND", b"SND2")):
            self._pushing = True
        return self._pushing and b"DATA" in payload

    def _watch(self) -> None:
        host, guest = self._host, self._guest
        for end, other, call in ((host, guest, self._host_event), (guest, host, self._guest_event)):
            if end is None:
                continue
            events = selectors.EVENT_WRITE if end.unsent else 0
            if other is None or len(other.unsent) < _ENOUGH:
                events |= selectors.EVENT_READ
            self._wires.watch(end.socket, events, call)

    def _host_event(self, events: int) -> None:
        if events & selectors.EVENT_READ:
            data = self._read(self._host)
            if data is None:
                return
            for message in self._framer.feed(data):
                if self._guest is None:
                    self._ask_for_key(message)
                elif self._wires.passes(message, self):
                    self.to_guest(message.bytes())
        self._after(events, self._host)

    def _guest_event(self, events: int) -> None:
        assert self._guest is not None
        if events & selectors.EVENT_READ:
            data = self._read(self._guest)
            if data is None:
                return
            self.to_host(data)
        self._after(events, self._guest)

    def _after(self, events: int, end: "_End") -> None:
        if self._wires._link is not self:
            return
        if events & selectors.EVENT_WRITE:
            self._flush(end)
        self._watch()

    def _ask_for_key(self, message: Message) -> None:
        """Answer as adbd does while the dialog on its screen is not answered."""
        if message.command == CNXN or (message.command == AUTH and message.first != AUTH_KEY):
            self.to_host(Message(AUTH, AUTH_TOKEN, 0, bytes(range(20)), check=1).bytes())

    def _read(self, end: "_End") -> bytes | None:
        try:
            data = end.socket.recv(_CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._wires.ended()
            return None
        return data

    def _flush(self, end: "_End") -> None:
        try:
            while end.unsent:
                sent = end.socket.send(end.unsent)
                del end.unsent[:sent]
        except BlockingIOError:
            return
        except OSError:
            end.unsent.clear()  # its end is seen when it is read


class _End:
    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.unsent = bytearray()


def listen(port: int, address: str = LOOPBACK) -> socket.socket:
    """Listen on a port of one address; empty: of all.

    Raises:
        OSError: it is taken.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError:
        listener.close()
        raise
    listener.listen(16)
    listener.setblocking(False)
    return listener
