"""End-of-campaign hooks: a command, a webhook and a mail say that a campaign has ended.

Each campaign that ends is marked by one process, which runs the hooks once. One that goes on again (retry,
new models) is unmarked, and its next end is said too. What a hook does changes nothing of the campaign: its
failure is stored with the mark and logged.
"""

import http.client
import json
import os
import shlex
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Engine, text

from nnlite.db.engine import storable
from nnlite.host.child_process import how_it_ended, kill_group
from nnlite.results import queries
from nnlite.results.queries import Progress
from nnlite.settings.hooks import HookSettings

#: Where `sendmail` is where it is not in PATH.
_SENDMAIL_FOLDERS = ("/usr/sbin", "/usr/lib")
#: How much of a failed program's output is stored, characters.
_TAIL = 500


class HookError(Exception):
    """A hook failed; the message says how."""


def take_ended(
    engine: Engine, settings: HookSettings, name: str | None = None, *, most: int | None = None
) -> list[str]:
    """Mark campaigns that have ended since the last call, in any process.

    Args:
        most: how many are taken where hooks are set, the oldest first; the others wait. None: all.

    Returns:
        The names of those whose hooks the caller runs; none where no hook is set.
    """
    with engine.begin() as connection:
        connection.execute(_UNMARK, {"name": name})
        problem = "the process that ran them was killed" if settings.any else None
        limit = most if settings.any else None
        names = connection.scalars(_MARK, {"name": name, "problem": problem, "most": limit}).all()
    return list(names) if settings.any else []


def run_hooks(engine: Engine, name: str, settings: HookSettings) -> str | None:
    """Run the hooks that are set for a campaign; return and store what failed, None: nothing did."""
    found = queries.campaigns(engine, name)
    if not found:
        return "it was deleted or renamed before they ran"
    (progress,) = found
    failed = []
    for hook, argument, run in _hooks(settings):
        try:
            run(argument, progress, settings.timeout_s)
        except HookError as error:
            failed.append(f"{hook}: {error}")
    problem = "; ".join(failed) or None
    with engine.begin() as connection:
        connection.execute(_STORE, {"name": name, "problem": storable(problem)})
    return problem


def summary(progress: Progress) -> str:
    """Return what people read first: the campaign's end in one line."""
    models = "1 model" if progress.models == 1 else f"{progress.models:,} models"
    counts = (
        f"{progress.converted:,} converted, {progress.measured:,} measured, {progress.failed:,} failed, "
        f"{progress.skipped:,} skipped"
    )
    return f"nnlite: campaign {progress.name} has ended; {models}: {counts}"


Hook = Callable[[Any, Progress, float], None]


def _hooks(settings: HookSettings) -> list[tuple[str, Any, Hook]]:
    every: list[tuple[str, Any, Hook]] = [
        ("command", settings.command, _run_command),
        ("webhook", settings.webhook_url, _post),
        ("mail", settings.mail_to, _send_mail),
    ]
    return [(name, argument, run) for name, argument, run in every if argument]


def _run_command(command: str, progress: Progress, timeout_s: float) -> None:
    """Run the user's program, without a shell: names of campaigns are not interpreted."""
    variables = {"CAMPAIGN": progress.name, "CAMPAIGN_SUMMARY": summary(progress)}
    _run(shlex.split(command), _content(progress), timeout_s, {**os.environ, **variables})


def _post(url: str, progress: Progress, timeout_s: float) -> None:
    """Post JSON; chat services show its `text`."""
    headers = {"Content-Type": "application/json", "User-Agent": "nnlite"}
    request = urllib.request.Request(url, _content(progress), headers)  # noqa: S310 (http and https only)
    host = urlsplit(url).hostname  # its path may be a secret
    try:
        with urllib.request.urlopen(request, timeout=timeout_s):  # noqa: S310
            pass
    except urllib.error.HTTPError as error:
        raise HookError(f"{host} answered {error.code} {error.reason}") from error
    except (OSError, ValueError) as error:
        raise HookError(f"{host}: {getattr(error, 'reason', None) or error}") from error
    except http.client.HTTPException as error:  # its text may have the path
        raise HookError(f"{host} does not speak HTTP: {type(error).__name__}") from error


def _send_mail(addresses: tuple[str, ...], progress: Progress, timeout_s: float) -> None:
    message = EmailMessage()
    message["To"] = ", ".join(addresses)
    name = "".join(each if each.isprintable() else "?" for each in progress.name)
    message["Subject"] = f"nnlite: campaign {name} has ended"
    message.set_content(f"{summary(progress)}\n\n{json.dumps(progress.as_dict(), indent=1)}\n")
    _run([_sendmail(), "-i", "--", *addresses], message.as_bytes(), timeout_s)


def _sendmail() -> str:
    folders = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SENDMAIL_FOLDERS])
    if (program := shutil.which("sendmail", path=folders)) is None:
        raise HookError("no program sendmail is here; install a mail server, such as msmtp-mta")
    return program


def problems(settings: HookSettings) -> list[str]:
    """Return what keeps the hooks that are set from running on this machine."""
    found = []
    if settings.command and shutil.which(shlex.split(settings.command)[0]) is None:
        found.append(f"command: no program {shlex.split(settings.command)[0]}")
    if settings.mail_to:
        try:
            _sendmail()
        except HookError as error:
            found.append(f"mail: {error}")
    return found


def _run(
    argv: list[str], content: bytes, timeout_s: float, environment: dict[str, str] | None = None
) -> None:
    """Run a program with `content` as its input.

    Raises:
        HookError: it cannot be started, fails, or does not end in time.
    """
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=environment, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise HookError(f"{argv[0]}: {error.strerror}") from error
    try:
        output, _ = process.communicate(content, timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise HookError(f"{argv[0]} did not end within {timeout_s:g} s") from error
    finally:
        kill_group(process)
    if process.returncode != 0:
        said = output.decode("utf-8", "replace").strip()[-_TAIL:]
        raise HookError(f"{argv[0]} {how_it_ended(process.returncode)}{said and f': {said}'}")


def _content(progress: Progress) -> bytes:
    return json.dumps({"text": summary(progress), **progress.as_dict()}).encode()


_UNMARK = text("""
UPDATE campaign c SET hooks_run_at = NULL, hooks_problem = NULL
WHERE hooks_run_at IS NOT NULL AND (CAST(:name AS text) IS NULL OR name = :name) AND (
    EXISTS (SELECT FROM conversion v WHERE v.campaign_id = c.id AND v.state IN ('queued', 'running'))
    OR EXISTS (SELECT FROM benchmark b WHERE b.campaign_id = c.id AND b.state IN ('queued', 'running'))
)
""")
# The problem is replaced when the hooks have run. Materialized: a join may run a subquery with a limit again.
_MARK = text("""
WITH ended AS MATERIALIZED (
    SELECT id FROM campaign c
    WHERE hooks_run_at IS NULL AND state = 'active' AND (CAST(:name AS text) IS NULL OR name = :name)
      AND EXISTS (SELECT FROM conversion v WHERE v.campaign_id = c.id)
      AND NOT EXISTS (
          SELECT FROM conversion v WHERE v.campaign_id = c.id AND v.state IN ('queued', 'running')
      )
      AND NOT EXISTS (
          SELECT FROM benchmark b WHERE b.campaign_id = c.id AND b.state IN ('queued', 'running')
      )
    ORDER BY created_at LIMIT :most FOR UPDATE SKIP LOCKED
)
UPDATE campaign SET hooks_run_at = now(), hooks_problem = :problem
WHERE id IN (SELECT id FROM ended)
RETURNING name
""")
_STORE = text("UPDATE campaign SET hooks_problem = :problem WHERE name = :name")
