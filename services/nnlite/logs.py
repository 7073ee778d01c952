"""Structured logs: one line per event with campaign, work, row and attempt bound.

A terminal gets colours, everything else one JSON object per line; both on
stderr, so that a command's output can be piped.
"""

import logging
import sys

import structlog

from nnlite.errors import NnliteError


def configure(level: str) -> None:
    """Set up structlog and the standard library's logging for this process.

    Raises:
        NnliteError: `level` is not a level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise NnliteError(f"NNLITE_LOG_LEVEL={level}: not a level; write DEBUG, INFO, WARNING or ERROR")
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    logging.getLogger("alembic").setLevel(max(number, logging.WARNING))
    # The worker logs each task itself, with its row bound.
    logging.getLogger("celery.app.trace").setLevel(max(number, logging.WARNING))
    logging.getLogger("celery.worker.strategy").setLevel(max(number, logging.WARNING))
