"""Celery consumer that sends events in batches and survives a lost broker.

Celery publishes a task's events in the same iteration of its loop, which takes a
fifth of the loop's time under load. Flower may see them half a second later.
"""

from contextlib import suppress
from typing import Any

from celery.worker.consumer import Consumer

_FLUSH_EVERY_S = 0.5


class BatchingConsumer(Consumer):  # type: ignore[misc]
    """Flushes buffered events twice a second, or when Celery's own limit of the buffer is reached.

    A worker that loses its broker while a message is unacknowledged would end with an `AttributeError`:
    Celery 5.7 collects the connection, then closes it, and kombu 5.7's Redis channel, which could not restore
    the message, tries again with a closed connection. See https://github.com/celery/kombu/issues/582.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._flush_due = False

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Called when the broker is lost; the consumer reconnects afterwards."""
        connection = self.connection
        close = connection.close

        def close_remaining() -> None:
            with suppress(AttributeError):
                close()

        connection.close = close_remaining
        super().on_connection_error_after_connected(exc)

    def on_send_event_buffered(self) -> None:
        """Called by the dispatcher for every event."""
        if self.hub and not self._flush_due:
            self._flush_due = True
            self.hub.call_later(_FLUSH_EVERY_S, self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        self._flush_events()
