"""The record is private, whole, and survives being read by the next version of itself."""

import pytest

from nnlite.host.processes import ProcessIdentity
from nnlite.local import logs
from nnlite.local.state_file import (
    Record,
    RecordError,
    ServerEntry,
    read_record,
    write_privately,
    write_record,
)


def test_what_is_written_is_read(tmp_path):
    process = ProcessIdentity(pid=7, started="boot:1")
    record = Record(guardian=process).with_server(
        "valkey", ServerEntry(port=20_001, password="x", process=process)
    )
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    assert [path.name for path in tmp_path.iterdir()] == ["servers.json"]


def test_there_is_none_at_first(tmp_path):
    assert read_record(tmp_path) == Record()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"servers": {"postgres": {}}, "guardian": null}'])
def test_a_damaged_one_names_the_way_out(tmp_path, text):
    (tmp_path / "servers.json").write_text(text)
    with pytest.raises(RecordError, match="remove it"):
        read_record(tmp_path)


def test_a_write_that_fails_leaves_the_old_text_and_no_debris(tmp_path):
    path = tmp_path / "file"
    write_privately(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_privately(path, "\udcff")
    assert path.read_text() == "old"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_password_is_not_in_the_text_of_an_entry():
    assert "secret" not in repr(ServerEntry(port=1, password="secret"))


def test_a_log_is_set_aside_when_it_is_long_and_its_writer_goes_on(tmp_path):
    path = tmp_path / "worker.log"
    with path.open("ab", buffering=0) as log:
        log.write(b"early\n" * 10)
        logs.bound(path, max_bytes=1000)
        assert logs.size(path) == 60
        logs.bound(path, max_bytes=10)
        log.write(b"late\n")
    assert path.read_text() == "late\n"
    assert (tmp_path / "worker.log.1").read_text() == "early\n" * 10


def test_the_tail_of_a_log_begins_where_asked(tmp_path):
    path = tmp_path / "worker.log"
    path.write_text("before\n")
    since = logs.size(path)
    with path.open("a") as log:
        log.writelines(f"{number}\n" for number in range(10))
    assert logs.tail(path, since=since, lines=3) == "7\n8\n9"
    assert "before" not in logs.tail(path, since=since, lines=100)
    assert logs.tail(tmp_path / "none.log") == ""
