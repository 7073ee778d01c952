"""A home in which nothing is yet: only commands that bring something into a database create one."""

import pytest
import typer

from nnlite.cli import command_line

#: What brings something into a database, or serves it to others; what downloads; what has a test of its own.
OTHERS = {
    ("up",), ("serve",), ("reaper",), ("db", "upgrade"), ("db", "restore"), ("worker", "convert"),
    ("worker", "benchmark"), ("worker", "check"), ("fetch",), ("doctor",),
}  # fmt: skip
NOTHING = "nothing is here yet: "
NO_CAMPAIGN = "no campaign is named 'night'; there is none yet; `nnlite submit` makes one"
#: Arguments, exit code, and what stderr says.
SAID = [
    (["status"], 0, NOTHING),
    (["status", "--json"], 0, NOTHING),
    (["status", "night"], 1, NO_CAMPAIGN),
    (["results"], 0, NOTHING),
    (["results", "--format", "csv"], 0, NOTHING),
    (["results", "night"], 1, NO_CAMPAIGN),
    (["failures"], 0, NOTHING),
    (["atlas", "abs"], 0, NOTHING),
    (["profile"], 0, NOTHING),
    (["sustained"], 0, NOTHING),
    (["effects"], 0, NOTHING),
    (["rank", "night"], 1, NO_CAMPAIGN),
    (["describe", "night"], 1, NO_CAMPAIGN),
    (["devices"], 0, NOTHING),
    (["devices", "incidents"], 0, NOTHING),
    (["devices", "release", "usb:1"], 1, NOTHING),
    (["watch", "night"], 1, NOTHING),
    (["pause", "night"], 1, NOTHING),
    (["resume", "night"], 1, NOTHING),
    (["cancel", "night"], 1, NOTHING),
    (["retry", "night"], 1, NOTHING),
    (["retry", "night", "--noisy"], 1, NOTHING),
    (["rename", "night", "day"], 1, NOTHING),
    (["delete", "night", "--yes"], 1, NOTHING),
    (["gc"], 1, NOTHING),
    (["gc", "--unknown-files", "--yes"], 1, NOTHING),
    (["verify"], 1, NOTHING),
    (["reproduce", "ResNet"], 1, NOTHING),
    (["export", "lemur", "out"], 1, NOTHING),
    (["export", "nngpt", "out"], 1, NOTHING),
    (["export", "model-explorer", "out"], 1, NOTHING),
    (["export", "litert-board", "out"], 1, NOTHING),
    (["db", "url"], 1, NOTHING),
    (["db", "psql", "-c", "SELECT 1"], 1, NOTHING),
    (["db", "backup", "out"], 1, NOTHING),
    (["ps"], 0, "nothing runs in "),
    (["logs"], 0, "no log in "),
    (["logs", "convert"], 1, "no log 'convert' in "),
    (["down"], 0, "nothing is up in "),
    (["models"], 0, "6 of 6 models: 5 usable, 1 skipped"),
    (["submit", "ResNet", "--dry-run"], 0, "nothing was submitted (--dry-run)"),
    (["run", "ResNet", "--dry-run"], 0, "nothing was submitted (--dry-run)"),
    (["submit"], 2, "Nothing chooses models, so all 5 of lemur are taken"),
    (["preflight", "Nobody"], 1, "unknown model Nobody"),
    (["explain-parity", "Nobody"], 1, "unknown model Nobody"),
    (["check"], 0, "ok: no problems found"),
    (["flower"], 2, "Flower needs a password"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "says"), SAID, ids=lambda value: "-".join(value) if isinstance(value, list) else ""
)
def test_no_database_is_made_to_find_nothing_in_it(nnlite, tmp_path, arguments, code, says):
    said = nnlite(*arguments)
    assert (said.code, says in said.err) == (code, True), said.err
    assert not {"postgres", "servers.json"} & {each.name for each in (tmp_path / "home").glob("*")}
    assert not (tmp_path / "out").exists()


def test_doctor_tries_the_servers_and_leaves_none(nnlite, environment, make_home):
    home = make_home() / "home"
    environment.setenv("NNLITE_HOME", str(home))
    (servers,) = [row for row in nnlite("doctor", "--json").rows if row["subject"] == "servers"]
    assert servers["state"] == "ok"
    assert (
        servers["message"] == f"embedded, under {home} as soon as something is run or submitted; they start"
    )
    assert [each.name for each in home.glob("*") if each.name != "cache"] == ["artifacts"]
    assert list(home.parent.iterdir()) == [home]


def test_every_command_was_tried() -> None:
    group = typer.main.get_command(command_line())
    words = set()
    for name in group.commands:
        command = group.get_command(typer.Context(group), name)
        words |= {(name, each) for each in command.commands} if hasattr(command, "commands") else {(name,)}
    tried = {tuple(arguments[: len(each)]) for arguments, *_ in SAID for each in words}
    assert words - tried == OTHERS, "add them to SAID"
