"""Logs: an unknown level is reported; lines are JSON where nobody watches."""

import json
import logging

import pytest
import structlog

from nnlite import logs
from nnlite.errors import NnliteError


def test_a_level_that_is_none_is_refused_with_those_that_are():
    with pytest.raises(NnliteError, match="NNLITE_LOG_LEVEL=LOUD: not a level; write DEBUG, INFO"):
        logs.configure("LOUD")


def test_a_line_is_one_json_object_with_what_is_bound(capsys):
    logs.configure("info")
    with structlog.contextvars.bound_contextvars(model="BagNet", attempt=2):
        structlog.get_logger().info("attempt failed", stage="lower")
        structlog.get_logger().debug("not to be seen")
        logging.getLogger("celery").warning("from a library: %s", "lost connection")
    captured = capsys.readouterr()
    ours, theirs = map(json.loads, captured.err.splitlines())
    assert captured.out == "", "answers alone go to stdout"
    assert (ours["event"], ours["model"], ours["attempt"], ours["stage"]) == (
        "attempt failed",
        "BagNet",
        2,
        "lower",
    )
    assert (theirs["event"], theirs["level"], theirs["model"]) == (
        "from a library: lost connection",
        "warning",
        "BagNet",
    )
