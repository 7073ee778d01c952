"""Other processes that use embedded servers, and checks of what they leave behind."""

import json
import os
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import psutil
import psycopg2
import redis

from nnlite.local import Endpoints
from waiting import HANG_S, end

#: A user of the servers: enters, prints where they are, leaves on a line of input or an interrupt.
USER = str(Path(__file__).parent / "programs" / "server_user.py")


class User:
    """Another process that uses the embedded servers of a home."""

    def __init__(self, home: Path, *prefix: str, **popen: object) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, USER, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **popen,
        )

    def endpoints(self) -> Endpoints:
        """Wait until it has entered."""
        database_url, broker_url = json.loads(self.says())
        return Endpoints(database_url=database_url, broker_url=broker_url)

    def says(self) -> str:
        """Return the next line that it writes."""
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        """Let it leave gracefully."""
        self.process.communicate("\n", timeout=HANG_S)
        assert self.process.returncode == 0

    def kill(self) -> None:
        """End it as the kernel would when memory runs out."""
        end(self.process)


def processes_of(home: Path) -> list[psutil.Process]:
    """Return the living processes that name `home` on their command line or work in it, but tests' users."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = " ".join(process.cmdline())
            is_of_the_test = process.pid == os.getpid() or USER in words
            if is_of_the_test or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if str(home) in words or process.cwd().startswith(str(home)):
                found.append(process)
    return found


def answer(endpoints: Endpoints) -> bool:
    """Whether both servers serve."""
    try:
        psycopg2.connect(endpoints.database_url, connect_timeout=int(HANG_S)).close()
        with closing(redis.Redis.from_url(endpoints.broker_url)) as client:
            return bool(client.ping())
    except (psycopg2.OperationalError, redis.RedisError):
        return False


def write_something(endpoints: Endpoints) -> None:
    """Commit a row and set a key."""
    with closing(psycopg2.connect(endpoints.database_url)) as connection, connection:
        connection.cursor().execute("CREATE TABLE kept AS SELECT 7 AS number")
    with closing(redis.Redis.from_url(endpoints.broker_url)) as client:
        client.set("kept", "7")
        # What `appendfsync everysec` promises only after a second.
        client.waitaof(1, 0, 5000)


def read_it(endpoints: Endpoints) -> tuple[int, bytes]:
    """Return what `write_something` wrote."""
    with closing(psycopg2.connect(endpoints.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT number FROM kept")
        number = cursor.fetchone()[0]
    with closing(redis.Redis.from_url(endpoints.broker_url)) as client:
        return number, client.get("kept")
