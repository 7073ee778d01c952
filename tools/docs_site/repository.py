"""Pages of the site that live elsewhere in the repository, and links between all of them.

Documents link to each other as files of the repository, so that they can be read there. On the site the
same links lead to pages; links to other files of the repository become plain text.
"""

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = "docs"
#: A notebook and its page, which is generated.
NOTEBOOK: Final = f"{DOCS}/guides/results.ipynb"
NOTEBOOK_PAGE: Final = "guides/notebook.md"
#: Files outside of docs/, and their place on the site.
PAGES: Final[Mapping[str, str]] = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "explain/architecture.md",
    "SECURITY.md": "explain/security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "android_app/README.md": "explain/android-app.md",
    "deploy/README.md": "operate/lab/index.md",
    "deploy/operations.md": "operate/lab/operations.md",
    "deploy/monitoring.md": "operate/lab/monitoring.md",
    "deploy/systemd/README.md": "operate/lab/systemd.md",
    "deploy/kubernetes/README.md": "operate/lab/kubernetes.md",
    "deploy/flower.png": "operate/lab/flower.png",
}
#: Text and target of a link or a picture.
_LINK: Final = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_BLOCKS: Final = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


def source_of(uri: str) -> str:
    """Return the file of the repository that a page of the site comes from."""
    return next((file for file, page in PAGES.items() if page == uri), f"{DOCS}/{uri}")


def page_of(file: str) -> str | None:
    """Return the page of a file of the repository; of a folder, that of its README. None: it has none."""
    if file in PAGES:
        return PAGES[file]
    if file == NOTEBOOK:
        return NOTEBOOK_PAGE
    if file.startswith(f"{DOCS}/"):
        return posixpath.relpath(file, DOCS) if (ROOT / file).is_file() else None
    return PAGES.get(posixpath.join(file, "README.md"))


def with_links(markdown: str, uri: str) -> str:
    """Return a page's text with links that work on the site.

    Args:
        markdown: the text, with links as in the repository.
        uri: the page.
    """
    folder = posixpath.dirname(source_of(uri))

    def on_site(match: re.Match[str]) -> str:
        picture, label, link = match.groups()
        target, hash_, anchor = link.partition("#")
        if ":" in target or not target:
            return match[0]
        file = posixpath.normpath(posixpath.join(folder, target))
        page = page_of(file)
        if page is None:
            return label if (ROOT / file).exists() else match[0]  # what is missing fails the build
        return f"{picture}[{label}]({posixpath.relpath(page, posixpath.dirname(uri) or '.')}{hash_}{anchor})"

    parts = _BLOCKS.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(on_site, part) for part in parts)
