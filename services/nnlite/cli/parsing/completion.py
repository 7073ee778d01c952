"""Completion of names in the shell: campaigns, models, pools, devices, words. It starts no server."""

from collections.abc import Callable
from enum import StrEnum

from nnlite.vocabulary import Backend, Precision

#: Most names that are offered.
_MOST = 200


def complete_campaigns(incomplete: str) -> list[str]:
    """Return the newest campaigns whose name begins so."""
    return _names("SELECT name FROM campaign WHERE name LIKE :like ORDER BY created_at DESC", incomplete)


def complete_models(incomplete: str) -> list[str]:
    """Return models of campaigns whose name begins so."""
    return _names("SELECT DISTINCT name FROM model WHERE name LIKE :like ORDER BY name", incomplete)


def complete_pools(incomplete: str) -> list[str]:
    """Return pools of known devices whose name begins so."""
    return _names("SELECT DISTINCT pool AS name FROM device WHERE pool LIKE :like ORDER BY pool", incomplete)


def complete_devices(incomplete: str) -> list[str]:
    """Return known devices whose name begins so."""
    return _names("SELECT name FROM device WHERE name LIKE :like ORDER BY name", incomplete)


def complete_source_models(incomplete: str) -> list[str]:
    """Return models of LEMUR whose name begins so, as of its last listing; an index that is not there yet
    is not made."""
    from nnlite.catalog.lemur.cache import known_names
    from nnlite.settings import load_settings

    try:
        names = known_names(load_settings().home)
    except Exception:  # noqa: BLE001 - a completion says nothing
        return []
    return sorted(name for name in names if name.startswith(incomplete))[:_MOST]


def complete_words(words: type[StrEnum]) -> Callable[[str], list[str]]:
    """Return the completion of one or several members with commas."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{word}" for word in words if word.startswith(last)]

    return complete


complete_precisions = complete_words(Precision)
complete_backends = complete_words(Backend)


def _names(statement: str, incomplete: str) -> list[str]:
    """Return names from a database that runs; of one that does not, none."""
    from nnlite.db.reader import Reader
    from nnlite.local import endpoints
    from nnlite.results.reading import like
    from nnlite.settings import load_settings

    pattern = f"{like(incomplete.replace('*', ''))}%"
    try:
        settings = load_settings()
        url = settings.database_url or endpoints(settings).database_url
        with Reader(url, timeout_s=2) as reader:
            rows = reader.rows(f"{statement} LIMIT {_MOST}", {"like": pattern})
    except Exception:  # noqa: BLE001 - a completion says nothing: the shell would show it as a name
        return []
    return [str(row["name"]) for row in rows]
