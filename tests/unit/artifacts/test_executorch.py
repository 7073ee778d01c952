"""ExecuTorch's error codes are said in words."""

import pytest

from nnlite.artifacts.executorch import in_words

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Failed to load program, error: 0x:23", "is damaged (0x23)"),
        ("method->execute() failed with error 0x12", "failed with error invalid argument (0x12)"),
        ("RuntimeError: Failed to load method forward, error: 0x:14", "has no kernel in this runtime (0x14)"),
    ],
)  # fmt: skip
def test_a_code_is_said_in_words_and_stays(message, words):
    assert in_words(message).endswith(words)


@pytest.mark.parametrize("message", ["no kernel", "failed with error 0x7f", "0x12 of 4 inputs"])
def test_another_message_stays_as_it_is(message):
    assert in_words(message) == message
