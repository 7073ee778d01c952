"""Celery's consumer, with events sent in batches, and with a lost broker survived.

Celery publishes a task's events within the same turn of its loop, which is a
fifth of what a worker's loop does under load. Whoever watches does not mind half
a second.
"""

from contextlib import suppress
from typing import Any

from celery.worker.consumer import Consumer

_FLUSH_EVERY_S = 0.5


class BatchingConsumer(Consumer):  # type: ignore[misc]
    """Flushes buffered events twice a second; Celery's own limit of the buffer holds besides.

    A worker whose broker goes away while a message is unacknowledged would end with an `AttributeError`:
    Celery 5.7 collects the connection, then closes it, and kombu 5.7's Redis channel, which could not give
    the message back, tries again with a connection that is gone. See https://github.com/celery/kombu/issues/582.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._flush_due = False

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Called when the broker is lost; the consumer connects anew afterwards."""
        connection = self.connection
        close = connection.close

        def close_what_is_left() -> None:
            with suppress(AttributeError):
                close()

        connection.close = close_what_is_left
        super().on_connection_error_after_connected(exc)

    def on_send_event_buffered(self) -> None:
        """Called by the dispatcher for every event."""
        if self.hub and not self._flush_due:
            self._flush_due = True
            self.hub.call_later(_FLUSH_EVERY_S, self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        self._flush_events()
