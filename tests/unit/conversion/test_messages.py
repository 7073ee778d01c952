"""Messages of a child are validated, limited in size, and read without blocking."""

import contextlib
import os

import pytest

from nnlite.errors import FailureClass
from nnlite.vocabulary import Stage
from nnlite_conversion import messages
from nnlite_conversion.messages import Inbox, Refusal, Report, StageStarted, send


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read, write
    for descriptor in (read, write):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def received(read) -> Inbox:
    inbox = Inbox(descriptor=read)
    inbox.receive()
    return inbox


def test_messages_round_trip(pipe):
    read, write = pipe
    report = Report(skipped="too large", parameters=3, input_shape=(1, 3, 2, 2))
    send(write, StageStarted(stage=Stage.EXPORT))
    send(write, report)

    inbox = received(read)

    assert (inbox.stage, inbox.answer, inbox.garbage) == (Stage.EXPORT, report, None)


def test_partial_message_waits_for_the_rest(pipe):
    read, write = pipe
    line = StageStarted(stage=Stage.LOWER).model_dump_json().encode() + b"\n"
    os.write(write, line[:10])
    inbox = received(read)
    assert inbox.stage is Stage.LOAD

    os.write(write, line[10:])
    inbox.receive()

    assert inbox.stage is Stage.LOWER


def test_the_first_answer_counts(pipe):
    read, write = pipe
    first = Refusal(failure_class=FailureClass.MODEL, reason="no")
    send(write, first)
    send(write, Report(input_shape=(1, 1, 1, 1)))

    assert received(read).answer == first


@pytest.mark.parametrize(
    "line",
    [
        b"\x00\xff\n",
        b"{}\n",
        b'{"kind":"stage","stage":"lunch"}\n',
        b'{"kind":"refusal","failure_class":"lost","reason":"not its to say"}\n',
        b'{"kind":"report","input_shape":[1,3,2,2],"state_dict_sha256":"../../etc/passwd"}\n',
        b'{"kind":"report","input_shape":[1,3,2,2],"path":"/etc/passwd"}\n',
    ],
)
def test_invalid_message_ends_reading(pipe, line):
    read, write = pipe
    os.write(write, line)
    send(write, Report(input_shape=(1, 1, 1, 1)))

    inbox = received(read)

    assert inbox.garbage is not None and inbox.answer is None and not inbox.open


def test_messages_above_the_size_limit_are_rejected(pipe, monkeypatch):
    read, write = pipe
    monkeypatch.setattr(messages, "MAX_BYTES", 1000)
    os.write(write, b"x" * 2000)

    assert "more than 1000 bytes" in received(read).garbage


def test_closed_pipe_ends_reading(pipe):
    read, write = pipe
    os.close(write)

    assert not received(read).open
