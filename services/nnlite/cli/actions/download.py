"""Downloads LEMUR for a command: says so, shows bytes and rate, and what is left."""

import time
from pathlib import Path

from nnlite.catalog.lemur.fetch import SIZE_BYTES, fetch_lemur
from nnlite.catalog.lemur.listing import SOURCE
from nnlite.catalog.lemur.location import LemurMissingError, find_lemur, sources_folder
from nnlite.cli.presenting.output import err, note
from nnlite.cli.presenting.presentation import duration, size
from nnlite.settings import Settings


def download_lemur(settings: Settings) -> Path:
    """Return the path of LEMUR's wheel, which is downloaded if it is missing.

    Raises:
        CatalogError: it cannot be downloaded or stored.
    """
    started_s, received = time.monotonic(), 0

    with err.status("downloading LEMUR") as status:

        def show(received_bytes: int) -> None:
            nonlocal received
            received = received_bytes
            status.update(f"downloading LEMUR: {progress(received, time.monotonic() - started_s)}")

        wheel = fetch_lemur(settings, show)
    elapsed_s = time.monotonic() - started_s
    if received:
        note(f"downloaded {size(received)} in {duration(elapsed_s)}, {_rate(received, elapsed_s)}")
    return wheel


def download_if_missing(source: str, settings: Settings) -> None:
    """Download LEMUR if it is the source of a request and not on this machine; says so before.

    Raises:
        CatalogError: as `download_lemur`; or NNLITE_LEMUR names something else.
    """
    if source != SOURCE:
        return
    try:
        find_lemur(settings)
    except LemurMissingError:
        folder = sources_folder(settings)
        note(f"LEMUR is not on this machine: downloading it, {size(SIZE_BYTES)}, into {folder}")
        download_lemur(settings)


def progress(received: int, elapsed_s: float) -> str:
    """Return how much was downloaded, how fast, and the time left."""
    if not received:
        return "connecting"
    left_s = max(0, SIZE_BYTES - received) * elapsed_s / received
    return f"{size(received)} of {size(SIZE_BYTES)}, {_rate(received, elapsed_s)}, {duration(left_s)} left"


def _rate(received: int, elapsed_s: float) -> str:
    return f"{size(round(received / max(elapsed_s, 1e-3)))}/s"
