"""Log files of local processes: `nnlite.local.logs`."""

from nnlite.local import logs


def test_a_long_log_is_rotated_while_its_writer_keeps_it_open(tmp_path):
    path = tmp_path / "worker.log"
    with path.open("ab", buffering=0) as log:
        log.write(b"early\n" * 10)
        logs.rotate(path, max_bytes=1000)
        assert logs.size(path) == 60
        logs.rotate(path, max_bytes=10)
        log.write(b"late\n")
    assert path.read_text() == "late\n"
    assert (tmp_path / "worker.log.1").read_text() == "early\n" * 10


def test_the_tail_of_a_log_starts_at_the_offset(tmp_path):
    path = tmp_path / "worker.log"
    path.write_text("before\n")
    since = logs.size(path)
    with path.open("a") as log:
        log.writelines(f"{number}\n" for number in range(10))
    assert logs.tail(path, since=since, lines=3) == "7\n8\n9"
    assert "before" not in logs.tail(path, since=since, lines=100)
    assert logs.tail(tmp_path / "none.log") == ""


def test_the_last_message_of_a_log_is_quoted_as_it_was_said(tmp_path):
    log = tmp_path / "convert.log"
    assert logs.last_message(log) == ""

    log.write_text('{"event": "ready"}\n{"event": "no torch", "level": "error"}\n')
    assert logs.last_message(log) == "no torch"

    log.write_text("Traceback:\nMemoryError\n")
    assert logs.last_message(log) == "MemoryError"
