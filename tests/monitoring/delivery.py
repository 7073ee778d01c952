"""Alerts reach people, by the example's routes: `python -m monitoring.delivery FOLDER`.

Alertmanager runs with `deploy/monitoring/alertmanager.example.yml`, whose mail server and webhook are local
ones here. A critical alert must arrive by both, another one by mail.
"""

import json
import queue
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import yaml

EXAMPLE = Path(__file__).parents[2] / "deploy" / "monitoring" / "alertmanager.example.yml"
TIMEOUT_S = 120
ALERTS = {"NnlitePostgresDown": "critical", "NnliteFailures": "warning"}
#: What has to arrive, and how.
EXPECTED = {("mail", "NnlitePostgresDown"), ("webhook", "NnlitePostgresDown"), ("mail", "NnliteFailures")}

Arrivals = queue.SimpleQueue[tuple[str, str]]
#: Debian's Alertmanager finds its templates below /usr/share only: that of the folder where it is unpacked is
#: put there, in a mount namespace of its own.
START = 'mount --bind "$0/usr/share" /usr/share && exec "$0/usr/bin/prometheus-alertmanager" "$@"'


def main(unpacked: str) -> int:
    """Send the alerts and wait for them; exit code 1 if one does not arrive, or where it should not."""
    arrivals: Arrivals = queue.SimpleQueue()
    with (
        _serving(_mail_server(arrivals)) as mail,
        _serving(_webhook(arrivals)) as webhook,
        tempfile.TemporaryDirectory() as folder,
        socket.socket() as free,
    ):
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        free.close()
        file = Path(folder) / "alertmanager.yml"
        file.write_text(yaml.safe_dump(_with_servers(mail, webhook)))
        command = ["unshare", "--map-root-user", "--mount", "sh", "-c", START, unpacked]
        command += [f"--config.file={file}", f"--storage.path={folder}"]
        command += [f"--web.listen-address={address}", "--cluster.listen-address="]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _post(f"http://{address}/api/v2/alerts", process)
            arrived = {arrivals.get(timeout=TIMEOUT_S) for _ in EXPECTED}
        except queue.Empty:
            print(f"not within {TIMEOUT_S} s: {EXPECTED}", file=sys.stderr)
            return 1
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)
    if arrived != EXPECTED:
        print(f"arrived: {arrived}, expected: {EXPECTED}", file=sys.stderr)
        return 1
    print(f"delivered: {', '.join(f'{name} by {way}' for way, name in sorted(arrived))}")
    return 0


def _with_servers(mail: str, webhook: str) -> dict[str, Any]:
    """Return the example with local servers, and without its pauses."""
    example: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    example["global"] = {"smtp_smarthost": mail, "smtp_from": "nnlite@example.org", "smtp_require_tls": False}
    for receiver in example["receivers"]:
        for configuration in receiver.get("webhook_configs", ()):
            configuration["url"] = f"http://{webhook}/nnlite"
    # One warning is inhibited by the critical alert in the example; here both have to arrive.
    example["inhibit_rules"] = []
    for route in (example["route"], *example["route"]["routes"]):
        route["group_wait"] = "0s"
    return example


def _post(url: str, alertmanager: subprocess.Popen[bytes]) -> None:
    alerts = [
        {"labels": {"alertname": name, "severity": severity}, "annotations": {"summary": name}}
        for name, severity in ALERTS.items()
    ]
    request = urllib.request.Request(url, json.dumps(alerts).encode(), {"Content-Type": "application/json"})
    deadline_s = time.monotonic() + TIMEOUT_S
    while True:
        try:
            urllib.request.urlopen(request, timeout=TIMEOUT_S).close()
            return
        except urllib.error.URLError:
            if alertmanager.poll() is not None or time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)


@contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def _mail_server(arrivals: Arrivals) -> socketserver.TCPServer:
    class Session(socketserver.StreamRequestHandler):
        """Takes every mail: RFC 5321 without extensions."""

        def handle(self) -> None:
            self._say("220 here")
            for line in self.rfile:
                verb = line.split()[0].upper()
                if verb == b"DATA":
                    self._say("354 go on")
                    text = b"".join(iter(self.rfile.readline, b".\r\n")).decode()
                    arrivals.put(("mail", next(name for name in ALERTS if name in text)))
                self._say("221 bye" if verb == b"QUIT" else "250 ok")
                if verb == b"QUIT":
                    return

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    return socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)


def _webhook(arrivals: Arrivals) -> HTTPServer:
    class Hook(BaseHTTPRequestHandler):
        """Takes Alertmanager's JSON."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for alert in body["alerts"]:
                arrivals.put(("webhook", alert["labels"]["alertname"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    return HTTPServer(("127.0.0.1", 0), Hook)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
