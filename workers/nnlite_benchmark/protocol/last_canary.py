"""The last canary of a device: after one measurement, and so before the next."""

import time


class LastCanary:
    """Duration of a device's last canary, which the measurement that follows takes."""

    def __init__(self) -> None:
        self._ns: int | None = None
        self._ended_s = 0.0

    def set(self, p25_ns: int) -> None:
        """Store the duration of a canary that has ended now."""
        self._ns, self._ended_s = p25_ns, time.monotonic()

    def take(self, max_age_s: float) -> int | None:
        """Return the duration, nanoseconds, and forget it; None: no canary ended within `max_age_s`."""
        taken, self._ns = self._ns, None
        return taken if time.monotonic() - self._ended_s < max_age_s else None

    def forget(self) -> None:
        """Forget the canary: the device was started or recovered since."""
        self._ns = None
