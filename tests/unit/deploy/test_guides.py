"""What documents name is there: commands with their options, pages, files, modules and `make` targets."""

import importlib.util
import os
import re
from functools import cache
from pathlib import Path

import pytest
import typer

from nnlite.cli import command_line
from nnlite.vocabulary import ParityState, Reason, Shape, Verdict

CHECKOUT = Path(__file__).parents[3]
README = CHECKOUT / "README.md"
GUIDES = [README, *sorted((CHECKOUT / "deploy").rglob("*.md")), *sorted((CHECKOUT / "docs").rglob("*.md"))]
DOCUMENTS = sorted(
    file
    for place in ("*.md", "docs/**/*.md", "deploy/**/*.md", "android_app/*.md", ".github/**/*.*")
    for file in CHECKOUT.glob(place)
)
#: Files that examples introduce, or that are written elsewhere.
EXAMPLES = {"net.py", "net.toml", "model.toml", "eval_info.json", "report.json"}
EXAMPLES |= {
    "deploy/monitoring/alertmanager.yml",
    "board.json",
    "reports/CAMPAIGN/MODEL-PRECISION-POOL-ID.json",
    "android_avd_pixel4-1_lab.json",
}
#: A group of entry points, and a unit of systemd.
NO_MODULES = {"nnlite.rewrites", "nnlite.sources", "nnlite.target"}
#: Folders that no document means, and that tools make.
MADE = {".git", ".venv", ".nnlite", ".mypy_cache", ".pytest_cache", ".ruff_cache", "__pycache__", "build"}

COMMAND = re.compile(r"(?:^[$#>] |-- |--rm |/bin/)nnlite ((?:[^#\n]|#\S)*)", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)", re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"(?:… )?((?:[\w.-]+/)*[\w-]+\.(?:py|md|sql|toml|ya?ml|json|java))(?:: ?(\w+))?")
FOLDER = re.compile(r"(?:… )?((?:[\w.-]+/)+)")
TESTS = re.compile(r"pytest[^`\n]* (tests/[\w/.]+)")
MAKE = re.compile(r"^(?:\$ |    |.*\brun: )?make ([a-z0-9-]+)", re.MULTILINE)
MODULE = re.compile(r"(?:nnlite|nnlite_\w+|device|compose|benchmarks|android_app)(?:\.\w+)+")


def name(path):
    return str(path.relative_to(CHECKOUT))


def check_command(line):
    command, words = typer.main.get_command(command_line()), [word for word in line.split() if word != "..."]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.get_command(typer.Context(command), words.pop(0))
    is_group = hasattr(command, "commands")
    assert not is_group or not words or words[0].startswith("--"), line
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= known, line


@cache
def current(document):
    """Return what a document says of this version: no older ones, and no first cells of renamings."""
    text = document.read_text()
    if document.name == "CHANGELOG.md":
        text = re.search(r"^## Unreleased\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)[1]
    renamings = re.compile(r"^\| 0\.1\.0 \|.*\n(?:\|.*\n)+", re.MULTILINE)
    return renamings.sub(lambda table: re.sub(r"^\|[^|]*", "", table[0], flags=re.MULTILINE), text)


@cache
def spans(document):
    """Return the code in a document's sentences; blocks of code are not sentences."""
    return CODE.findall(re.sub(r"```.*?```", "", current(document), flags=re.DOTALL))


@cache
def files():
    """Return every file of the checkout that tools do not make."""
    paths = []
    for folder, folders, inside in os.walk(CHECKOUT):
        folders[:] = set(folders) - MADE
        paths += [Path(folder, file).relative_to(CHECKOUT).as_posix() for file in inside]
    return paths


@cache
def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(page.read_text())
    }


def test_the_readme_is_read_in_five_minutes():
    assert len(README.read_text().splitlines()) <= 150, "move detail into docs/"


def test_every_word_of_a_verdict_is_explained():
    guide = (CHECKOUT / "docs/guides/results.md").read_text()
    words = {*Verdict, *Reason, *ParityState, *Shape} - {Shape.STEADY}
    assert {word for word in words if not re.search(rf"`{word}`|\*\*{word}\*\*", guide)} == set()


def test_every_page_is_in_the_navigation_of_the_site():
    # What is generated, or comes from elsewhere, fails the build of the site if it is not there.
    navigation = (CHECKOUT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    docs = CHECKOUT / "docs"
    pages = [page.relative_to(docs).as_posix() for page in docs.rglob("*.md") if page.parent != docs / "adr"]
    assert [page for page in pages if page not in navigation] == []


@pytest.mark.parametrize("guide", GUIDES, ids=name)
def test_the_commands_of_a_guide_are_commands(guide):
    for block in re.findall(r"```console\n(.*?)```", guide.read_text(), re.DOTALL):
        for line in COMMAND.findall(block):
            check_command(line)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_the_commands_in_a_document_are_commands(document):
    for span in spans(document):
        if span.startswith("nnlite "):
            check_command(span.removeprefix("nnlite "))


def test_the_pages_that_a_document_links_to_are_there():
    missing = []
    for document in DOCUMENTS:
        for link in LINK.findall(current(document)):
            target, _, anchor = link.partition("#")
            page = document.parent / target if target else document
            if ":" not in link and (not page.exists() or (anchor and anchor not in anchors(page))):
                missing.append((name(document), link))
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_the_files_that_a_document_names_are_there(document):
    missing = []
    for span in spans(document):
        if (match := FILE.fullmatch(span)) and match[1] not in EXAMPLES:
            named = re.sub(r"^(\.\./)+", "", match[1])
            meant = [CHECKOUT / file for file in files() if f"/{file}".endswith(f"/{named}")]
            if not any(re.search(rf"\b{match[2] or ''}\b", file.read_text()) for file in meant):
                missing.append(span)
        elif (match := FOLDER.fullmatch(span)) and "..." not in span:
            named = re.sub(r"^(\.\./)+", "", match[1])
            if not any(f"/{named}" in f"/{file}" for file in files()) and named.split("/")[0] not in MADE:
                missing.append(span)
    missing += [path for path in TESTS.findall(current(document)) if not (CHECKOUT / path).exists()]
    assert missing == []


def test_the_modules_that_a_document_names_are_there():
    named = {module: name(document) for document in DOCUMENTS for module in spans(document)}
    missing = []
    for module in filter(MODULE.fullmatch, named.keys() - NO_MODULES):
        package, _, symbol = module.rpartition(".")
        if importlib.util.find_spec(module) is None and not hasattr(importlib.import_module(package), symbol):
            missing.append((named[module], module))
    assert missing == []


def test_the_make_targets_that_a_document_names_are_there():
    targets = set(re.findall(r"^([a-z0-9-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    missing = [
        (name(document), target)
        for document in DOCUMENTS
        for target in MAKE.findall("\n".join([current(document), *spans(document)]))
        if target not in targets
    ]
    assert missing == []
