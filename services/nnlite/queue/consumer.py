"""Celery's consumer, with events sent in batches.

Celery publishes a task's events within the same turn of its loop, which is a
fifth of what a worker's loop does under load. Whoever watches does not mind half
a second.
"""

from typing import Any

from celery.worker.consumer import Consumer

_FLUSH_EVERY_S = 0.5


class BatchingConsumer(Consumer):  # type: ignore[misc]
    """Flushes buffered events twice a second; Celery's own limit of the buffer holds besides."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._flush_due = False

    def on_send_event_buffered(self) -> None:
        """Called by the dispatcher for every event."""
        if self.hub and not self._flush_due:
            self._flush_due = True
            self.hub.call_later(_FLUSH_EVERY_S, self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        self._flush_events()
