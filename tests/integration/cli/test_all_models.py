"""A request that chooses nothing takes all models of a source: by its user's word only."""

import io

import pytest

from nnlite.campaigns.request import Request


class Terminal(io.StringIO):
    """A user who answers."""

    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize(("answer", "code", "campaigns"), [("y\n", 0, 1), ("n\n", 1, 0), ("", 1, 0)])
def test_in_a_terminal_the_user_is_asked(nnlite, monkeypatch, answer, code, campaigns) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    said = nnlite("submit", "--name", "everything")
    assert said.code == code
    assert said.err.startswith("Nothing chooses models, so all 5 of lemur are taken: conversion about ")
    assert ("nothing was submitted" in said.err) is bool(code)
    assert len(nnlite("status", "--json").rows) == campaigns


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize("said_before", [["--yes"], ["-y"], ["--match", "*"]])
def test_without_a_terminal_it_must_have_been_said(nnlite, said_before) -> None:
    refused = nnlite("submit", "--name", "everything")
    assert refused.code == 2 and refused.err.endswith("Take all? Nobody is here to answer; add --yes\n")
    taken = nnlite("submit", "--name", "everything", *said_before)
    assert taken.code == 0
    assert "submitted campaign everything: " in taken.err


@pytest.mark.usefixtures("servers")
def test_a_campaign_that_is_there_is_resumed_without_a_question(nnlite) -> None:
    assert nnlite("submit", "--yes", "--name", "everything").code == 0
    assert "resumed campaign everything" in nnlite("submit", "--name", "everything").err
    assert "nnlite submit --yes" in nnlite("describe", "everything").out
    assert "yes = true\n" in nnlite("describe", "everything", "--toml").out


@pytest.mark.usefixtures("servers")
def test_a_campaign_file_says_it_too(nnlite, tmp_path) -> None:
    (tmp_path / "night.toml").write_text('yes = true\nname = "night"\n')
    assert nnlite("submit", "night.toml").code == 0


@pytest.mark.parametrize(
    "chosen", [{"models": ("a",)}, {"match": "a*"}, {"limit": 3}, {"path": ("/a",)}, {"weights": "/a"}]
)
def test_files_names_patterns_and_a_limit_choose(chosen) -> None:
    assert not Request(**chosen).takes_all
    assert Request(dataset="cifar-10", transform="norm_256", seed=1).takes_all
