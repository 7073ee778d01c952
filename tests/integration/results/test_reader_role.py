"""The role of docs/operate/remote-access.md reads everything and changes nothing."""

import re
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from nnlite.db.engine import engine_for

PAGE = Path(__file__).parents[3] / "docs/operate/remote-access.md"
(RECIPE,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def reader(database_url):
    """An engine as the role that the page's SQL creates, and removes again."""
    owner = engine_for(database_url)
    with owner.begin() as connection:
        connection.execute(text(RECIPE))
    url = make_url(database_url).set(username="reader", password="choose one")
    engine = engine_for(url.render_as_string(hide_password=False))
    yield engine
    engine.dispose()
    with owner.begin() as connection:
        connection.execute(text("DROP OWNED BY reader; DROP ROLE reader"))
    owner.dispose()


@pytest.mark.parametrize("relation", ["latency", "campaign_progress", "measurement"])
def test_the_reader_reads(reader, relation):
    with reader.connect() as connection:
        assert connection.execute(text(f"SELECT * FROM {relation}")).all() == []


@pytest.mark.parametrize("writable", [False, True])
def test_the_reader_changes_nothing(reader, writable):
    with reader.connect() as connection:
        if writable:
            connection.execute(text("SET TRANSACTION READ WRITE"))
        with pytest.raises(DBAPIError, match="permission denied" if writable else "read-only transaction"):
            connection.execute(text("DELETE FROM campaign"))
