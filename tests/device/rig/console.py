"""The console of an emulator: greeting, authentication and the commands that are needed."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from device.rig.machine import LineServer
from device.rig.snapshots import Snapshots

CONSOLE_HELP: Final = (
    "Android console commands:\r\n"
    "    help|h|?         print a list of commands\r\n"
    "    avd              control virtual device execution\r\n"
    "    kill             terminate the emulator instance\r\n"
    "    quit|exit        quit control session\r\nOK\r\n"
)


class Console:
    """Answers the lines of the console's clients."""

    def __init__(self, name: str, home: Path, *, kill: Callable[[], None], snapshots: Snapshots) -> None:
        self._name = name
        self._token_file = home / ".emulator_console_auth_token"
        self._kill = kill
        self._snapshots = snapshots

    def greeting(self) -> str:
        """Return the text that a client gets first."""
        if not self._token_file.exists():
            self._token_file.write_text(secrets.token_urlsafe(12))
        if not self._token_file.read_text():
            return "Android Console: type 'help' for a list of commands\r\nOK\r\n"
        return (
            "Android Console: Authentication required\r\n"
            "Android Console: type 'auth <auth_token>' to authenticate\r\n"
            "Android Console: you can find your <auth_token> in \r\n"
            f"'{self._token_file}'\r\nOK\r\n"
        )

    def answer(self, line: str, client: LineServer.Client) -> str | None:
        """Answer a command of the console; None: hang up."""
        command, _, argument = line.partition(" ")
        token = self._token_file.read_text()
        client.authorized = client.authorized or not token or (command == "auth" and argument == token)
        answers = {
            "help": CONSOLE_HELP,
            "auth": "Android Console: type 'help' for a list of commands\r\nOK\r\n",
            "avd name": f"{self._name}\r\nOK\r\n",
            "avd status": "virtual device is running\r\nOK\r\n",
            "kill": "OK: killing emulator, bye bye\r\n",
        }
        if command in {"quit", "exit"}:
            return None
        if command == "auth" and not client.authorized:
            return "KO: authentication token does not match ~/.emulator_console_auth_token\r\n"
        if command == "kill" and client.authorized:
            self._kill()
        if line.startswith("avd snapshot ") and client.authorized:
            return self._snapshots.answer(line.removeprefix("avd snapshot "))
        allowed = client.authorized or line in {"help", "avd name"}
        known = answers.get("auth" if command == "auth" else line)
        return known if allowed and known else "KO: unknown command, try 'help'\r\n"
