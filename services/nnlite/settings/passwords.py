"""Passwords from files of their own, as container engines provide secrets.

They are inserted into the URL of their server, so that the rest of the code uses
one URL. Nothing here prints one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from nnlite.errors import NnliteError

#: Settings of servers with credentials, without their prefix; model code could read them in
#: /proc/<pid>/environ.
CREDENTIALS: Final = ("DATABASE_URL", "BROKER_URL")
#: All settings with credentials, likewise.
SECRET: Final = frozenset({*CREDENTIALS, "HOOKS__WEBHOOK_URL"})
#: The URL, and the file with its password, as fields of the settings.
_PAIRS: Final = {"database_url": "database_password_file", "broker_url": "broker_password_file"}


def with_passwords(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with the passwords of files inserted into their URLs.

    Raises:
        ValueError: a file cannot be used, has no URL, or its URL has a password already.
    """
    complete = dict(values)
    for url_name, file_name in _PAIRS.items():
        if file := values.get(file_name):
            named = f"{_variable(file_name)}={file}"
            complete[url_name] = _with_password(values.get(url_name), _variable(url_name), Path(file), named)
    return complete


def without_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for a process that has no business with the servers."""
    hidden = {_variable(name) for name in (*CREDENTIALS, "secrets_file")}
    return {name: value for name, value in environment.items() if name not in hidden}


def password_in(file: Path, named: str) -> str:
    """Return the one line that `file` holds.

    Args:
        named: how the user named the file, for messages.

    Raises:
        NnliteError: it cannot be read, is empty, or is not one line of text.
    """
    try:
        lines = file.expanduser().read_text().strip().splitlines()
    except OSError as error:
        raise NnliteError(f"{named}: {error.strerror}; name a file that this account may read") from error
    except UnicodeDecodeError as error:
        raise NnliteError(f"{named} is no text; write the password into it, alone") from error
    if not lines:
        raise NnliteError(f"{named} is empty; write the password into it")
    if len(lines) > 1:
        raise NnliteError(f"{named} has {len(lines)} lines; write the password into it, alone")
    return lines[0]


def _with_password(url: str | None, variable: str, file: Path, named: str) -> str:
    if not url:
        raise ValueError(f"{named} opens no server; set {variable} as well")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ValueError(f"{variable} is not a URL: {error}") from error
    login, _, address = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    if password:
        raise ValueError(f"{variable} has a password and {named} brings another; keep one of them")
    try:
        secret = quote(password_in(file, named), safe="")
    except NnliteError as error:
        raise ValueError(str(error)) from error
    return parts._replace(netloc=f"{user}:{secret}@{address}").geturl()


def _variable(field: str) -> str:
    return f"NNLITE_{field.upper()}"
