"""Exceptions that nnlite can explain, and the closed list of failure classes."""

import difflib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar

from nnlite.vocabulary import Stage


class FailureClass(StrEnum):
    """Why an attempt ended without a result; stored with every attempt."""

    MODEL = "model"  # the model cannot be converted: final at once
    CONVERTER = "converter"  # the converter crashed or exceeded a limit: a strike
    RUNTIME = "runtime"  # the runtime or a delegate refuses the artifact: final for that backend
    DEVICE = "device"  # the device misbehaved: it is recovered, the work is queued again
    INFRASTRUCTURE = "infrastructure"  # Postgres, Redis or the store unreachable: tried again later
    LOST = "lost"  # its worker died or its lease expired: a loss
    RELEASED = "released"  # the worker stopped gracefully: counts for nothing


class NnliteError(Exception):
    """An error that nnlite can explain: the message names the thing, the value and what to do."""

    #: Of a command that ends with it.
    exit_code: ClassVar[int] = 1


class UsageError(NnliteError):
    """A command was given options or arguments that it cannot take."""

    exit_code = 2


class Unavailable(NnliteError):
    """A server or a store does not answer; the same call may succeed later."""


class Stopped(NnliteError):
    """The worker is stopping: a wait or a measurement was interrupted and cleaned up."""


class Failure(NnliteError):
    """An attempt that ended without a result.

    Args:
        failure_class: decides what happens next (`nnlite.queue.retry`).
        stage: of the attempt when it failed.
        reason: one sentence for people.
        details: evidence worth keeping (exit status, signal, stderr tail, operator); JSON values.
    """

    def __init__(
        self,
        failure_class: FailureClass,
        stage: Stage,
        reason: str,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(reason)
        self.failure_class = failure_class
        self.stage = stage
        self.reason = reason
        self.details = dict(details or {})

    def __str__(self) -> str:
        return f"{self.failure_class} failure at {self.stage}: {self.reason}"


def plain(message: str) -> str:
    """Return a message of pydantic as those read it who write JSON, TOML or a variable: without tuples."""
    message = message.removeprefix("Value error, ")
    return message.replace("valid tuple", "valid list").replace("Tuple should", "List should")


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return the end of an error message about an unknown name: close matches, or nothing."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def is_pattern(word: str) -> bool:
    """Return whether a word is a glob pattern rather than a name."""
    return any(character in word for character in "*?[")
