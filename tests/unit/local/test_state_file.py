"""`servers.json`: `nnlite.local.state_file`."""

import json

import pytest

from nnlite.errors import NnliteError
from nnlite.host.processes import ProcessIdentity
from nnlite.local.state_file import (
    Record,
    ServerEntry,
    read_record,
    write_record,
)


def test_a_record_is_written_and_read(tmp_path):
    process = ProcessIdentity(pid=7, started="boot:1")
    record = Record(daemon=process).with_server(
        "valkey", ServerEntry(port=20_001, password="x", process=process)
    )
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    [path] = tmp_path.iterdir()
    assert path.name == "servers.json"
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_file_the_record_is_empty(tmp_path):
    assert read_record(tmp_path) == Record()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"servers": {"postgres": {}}, "guardian": null}'])
def test_a_damaged_file_is_reported_with_a_hint(tmp_path, text):
    (tmp_path / "servers.json").write_text(text)
    with pytest.raises(NnliteError, match="remove it"):
        read_record(tmp_path)


def test_the_repr_of_an_entry_hides_the_password():
    assert "secret" not in repr(ServerEntry(port=1, password="secret"))


def test_a_record_of_release_0_1_is_read(tmp_path):
    process = {"pid": 7, "started": "boot:1"}
    server = {"port": 20_001, "password": "x", "process": process}
    document = {"servers": {"valkey": server}, "guardian": process}
    (tmp_path / "servers.json").write_text(json.dumps(document))
    record = read_record(tmp_path)
    assert record.daemon == ProcessIdentity(**process) == record.servers["valkey"].process
    write_record(tmp_path, record)
    assert json.loads((tmp_path / "servers.json").read_text()) == document
