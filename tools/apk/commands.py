"""Runs other programs with a timeout; their output is shown only if they fail."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from apk import BuildError


def run(
    command: Sequence[str | Path],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    way_out: str = "",
) -> str:
    """Run a program and return its standard output.

    Args:
        command: the program and its arguments.
        timeout_s: how long it may take.
        cwd: the folder that it runs in.
        environment: variables in addition to those of this process.
        way_out: what a person can do if it fails.

    Raises:
        BuildError: it is missing, fails, or takes too long.
    """
    words = [str(word) for word in command]
    try:
        result = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise BuildError(_message(f"{words[0]} is not installed", "", way_out)) from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(_message(f"{words[0]} took more than {timeout_s:g} s", "", way_out)) from error
    if result.returncode:
        said = "\n".join(part.strip()[-4000:] for part in (result.stdout, result.stderr) if part.strip())
        shown = " ".join(words if len(words) < 12 else [*words[:10], "..."])
        raise BuildError(_message(f"`{shown}` failed with {result.returncode}", said, way_out))
    return result.stdout


def _message(problem: str, said: str, way_out: str) -> str:
    return "\n".join(part for part in (problem, said, way_out) if part)
