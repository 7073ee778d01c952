"""Rebuilds the catalog's table of known code from the LEMUR of the settings: `make shapes`."""

from nnlite.catalog.lemur.known_code import TABLE, table_of
from nnlite.catalog.lemur.location import find_lemur
from nnlite.catalog.model import text_sha256
from nnlite.catalog.untrusted.source_text import why_unusable
from nnlite.settings import load_settings


def main() -> None:
    """Rebuild the committed table."""
    codes = [code for _, code in find_lemur(load_settings()).models() if why_unusable(code) is None]
    table = table_of(map(text_sha256, codes))
    TABLE.write_bytes(table)
    print(f"{len(codes)} models in {TABLE}, {len(table)} bytes")


if __name__ == "__main__":
    main()
