"""Where settings come from: `.env`, the environment and the secrets file."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from nnlite.errors import NnliteError

PREFIX: Final = "NNLITE_"
ENVIRONMENT: Final = "environment"


class SettingsError(NnliteError):
    """A setting is unknown or has a value that cannot be used."""


def variables(env_file: str | None) -> Iterator[tuple[str, str, str]]:
    """Yield every variable with where it stands and its text; of equal names the last counts."""
    in_file = _dotenv(env_file) if env_file else {}
    if f"{PREFIX}SECRETS_FILE" in in_file:
        raise SettingsError(f"{PREFIX}SECRETS_FILE in .env is not read: set it in the environment")
    yield from ((str(env_file), variable, text) for variable, text in in_file.items())
    yield from ((ENVIRONMENT, variable, text) for variable, text in os.environ.items())
    if secrets := os.environ.get(f"{PREFIX}SECRETS_FILE"):
        file = _checked_secrets(Path(secrets))
        yield from ((str(file), variable, text) for variable, text in _dotenv(str(file)).items())


def _dotenv(file: str) -> dict[str, str]:
    if not Path(file).exists():
        return {}
    from dotenv import dotenv_values

    return {variable: text or "" for variable, text in dotenv_values(file).items()}


def set_variables(env_file: str | None) -> Iterator[tuple[str, str, str]]:
    """Yield the variables with our prefix that are not empty, as `variables`, in capitals."""
    for where, variable, text in variables(env_file):
        if variable.upper().startswith(PREFIX) and text:
            yield where, variable.upper(), text


def json_value(variable: str, text: str) -> Any:
    """Return the value of a variable that holds a list or a group.

    Raises:
        SettingsError: it is not JSON.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        example = f"""{PREFIX}CATALOG__EXCLUDE='["ga-*"]'"""
        raise SettingsError(f"{variable} cannot be read; lists are JSON: {example}") from error


def _checked_secrets(path: Path) -> Path:
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise SettingsError(f"{PREFIX}SECRETS_FILE={path}: {error.strerror}; name a readable file") from error
    if mode & 0o077:
        raise SettingsError(
            f"{PREFIX}SECRETS_FILE={path} has mode {mode:04o}; make it private: chmod 600 {path}"
        )
    return path
