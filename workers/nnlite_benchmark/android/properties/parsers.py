"""Asking a device several things in one round trip, and taking its answers apart.

Each `adb shell` costs 20 to 50 ms, so one command line asks everything and
separators keep the answers apart. What a device says is no text to be trusted:
it is shortened, made printable, and recognised where it is an error message.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

#: Runs one command line in the device's shell and returns its stdout, whatever the exit status.
Ask = Callable[[str], str]

#: What is read of one answer, characters.
MAX_ANSWER_CHARS: Final = 1024 * 1024
#: As in `nnlite.reports.schema.Word`.
MAX_WORD_CHARS: Final = 300

_MARK: Final = "nnlite-answer:"
_NO_ANSWER: Final = re.compile(
    r"permission denied|no such file|not found|inaccessible|can't find service|operation not permitted|"
    r"invalid argument|input/output error|usage:",
    re.IGNORECASE,
)


def asked(ask: Ask, commands: Mapping[str, str]) -> dict[str, str]:
    """Run `commands` in one command line and return what each printed; "" for one without an answer."""
    # The echo before the mark ends a last line that has no line end.
    line = "; ".join(
        f"echo; echo '{_MARK}{name}'; {command} 2>/dev/null" for name, command in commands.items()
    )
    answers = dict.fromkeys(commands, "")
    for piece in ask(line).replace("\r\n", "\n").split(_MARK)[1:]:
        name, mark_end, answer = piece.partition("\n")
        if mark_end and name in answers:
            answers[name] = answer[:MAX_ANSWER_CHARS]
    return answers


def word(text: str | None) -> str | None:
    """Return `text` as a word of a report: printable and not too long; None where it says nothing."""
    if text is None:
        return None
    printable = "".join(letter for letter in text[: 10 * MAX_WORD_CHARS] if letter.isprintable())
    return printable.strip()[:MAX_WORD_CHARS].strip() or None


def one_line(answer: str) -> str | None:
    """Return an answer that is one line; None where there is more or less, or an error message."""
    lines = [line for line in answer.splitlines() if line.strip()]
    if len(lines) != 1 or _NO_ANSWER.search(lines[0]):
        return None
    return word(lines[0])


def free_kb(df_output: str) -> int | None:
    """Return the free space of the one file system that `df -k PATH` shows; None: it cannot be read."""
    words = df_output.strip().rpartition("\n")[2].split()
    try:
        return int(words[3])
    except (IndexError, ValueError):
        return None


def numbers_of_cpu_list(text: str | None) -> tuple[int, ...] | None:
    """Return the processors of a kernel list such as `0-3,5`; None where it is none.

    The format: https://docs.kernel.org/admin-guide/cputopology.html
    """
    found: list[int] = []
    for part in (text or "").split(","):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part.strip(), re.ASCII)
        if not match:
            return None
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last or len(found) + last - first >= MAX_CORES:
            return None
        found += range(first, last + 1)
    return tuple(found)


#: Most processors that a report lists.
MAX_CORES: Final = 4096
