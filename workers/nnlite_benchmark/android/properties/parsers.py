"""Runs several shell commands in one round trip and parses their untrusted output.

Each `adb shell` costs 20 to 50 ms, so one command line runs all commands and
separators keep the outputs apart. Output is truncated and made printable, and
error messages are recognised.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

#: Runs one command line in the device's shell and returns its stdout; the exit status is ignored.
ShellOutput = Callable[[str], str]

#: Longest output of one command, characters.
MAX_OUTPUT_CHARS: Final = 1024 * 1024
#: As in `nnlite.reports.schema.Word`.
MAX_WORD_CHARS: Final = 300

_MARK: Final = "nnlite-answer:"
_ERROR: Final = re.compile(
    r"permission denied|no such file|not found|inaccessible|can't find service|operation not permitted|"
    r"invalid argument|input/output error|usage:",
    re.IGNORECASE,
)


def run_batch(shell_output: ShellOutput, commands: Mapping[str, str]) -> dict[str, str]:
    """Run `commands` in one command line and return the stdout of each; "" for one without output."""
    # The echo before the mark terminates a last line without a line end.
    line = "; ".join(
        f"echo; echo '{_MARK}{name}'; {command} 2>/dev/null" for name, command in commands.items()
    )
    outputs = dict.fromkeys(commands, "")
    for section in shell_output(line).replace("\r\n", "\n").split(_MARK)[1:]:
        name, mark_end, output = section.partition("\n")
        if mark_end and name in outputs:
            outputs[name] = output[:MAX_OUTPUT_CHARS]
    return outputs


def word(text: str | None) -> str | None:
    """Return `text` as a `Word` of a report: printable and of limited length; None if nothing is left."""
    if text is None:
        return None
    printable = "".join(letter for letter in text[: 10 * MAX_WORD_CHARS] if letter.isprintable())
    return printable.strip()[:MAX_WORD_CHARS].strip() or None


def one_line(output: str) -> str | None:
    """Return the output if it is one line and no error message, else None."""
    lines = [line for line in output.splitlines() if line.strip()]
    if len(lines) != 1 or _ERROR.search(lines[0]):
        return None
    return word(lines[0])


def flag(output: str) -> bool | None:
    """Return the value of a setting or property that is 0 or 1; `null`: it was never set. None: neither."""
    return {"1": True, "0": False, "null": False}.get(output.strip())


def free_kb(df_output: str) -> int | None:
    """Return the free space in the output of `df -k PATH`; None if it cannot be parsed."""
    words = df_output.strip().rpartition("\n")[2].split()
    try:
        return int(words[3])
    except (IndexError, ValueError):
        return None


def numbers_of_cpu_list(text: str | None) -> tuple[int, ...] | None:
    """Return the processors of a kernel list such as `0-3,5`; None if it cannot be parsed.

    The format: https://docs.kernel.org/admin-guide/cputopology.html
    """
    numbers: list[int] = []
    for part in (text or "").split(","):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part.strip(), re.ASCII)
        if not match:
            return None
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last or len(numbers) + last - first >= MAX_CORES:
            return None
        numbers += range(first, last + 1)
    return tuple(numbers)


#: Upper limit of processors in a report.
MAX_CORES: Final = 4096
