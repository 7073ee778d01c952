"""Hooks of MkDocs (`mkdocs.yml`): add pages from elsewhere and generated ones, and mend links."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs_site.commands import commands_page
from docs_site.database import database_page
from docs_site.metrics import metrics_page
from docs_site.notebooks import notebook_page
from docs_site.reports import reports_page
from docs_site.repository import NOTEBOOK, NOTEBOOK_PAGE, PAGES, ROOT, with_links
from docs_site.settings import settings_page

GENERATED: Final[Mapping[str, Callable[[], str]]] = {
    "reference/commands.md": commands_page,
    "reference/settings.md": settings_page,
    "reference/database.md": database_page,
    "reference/reports.md": reports_page,
    "reference/metrics.md": metrics_page,
    NOTEBOOK_PAGE: lambda: notebook_page(ROOT / NOTEBOOK),
}
#: The script that draws diagrams; `make docs` fetches it. Without it diagrams stay text.
MERMAID: Final = ROOT / ".nnlite/docs/mermaid.min.js"
_SCRIPT: Final = "assets/mermaid.min.js"
_DIAGRAM: Final = "```mermaid"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the decision records in the navigation, each under its number."""
    records = sorted(path.name for path in Path(config.docs_dir, "adr").glob("[0-9]*.md"))
    _fill(config.nav, "Decisions", ["adr/README.md", *(f"adr/{name}" for name in records)])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages from outside of docs/, generated pages, and the script that draws diagrams."""
    for file, uri in PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / file)))
    for uri, page in GENERATED.items():
        files.append(File.generated(config, uri, content=page()))
    if MERMAID.is_file():
        files.append(File.generated(config, _SCRIPT, abs_src_path=str(MERMAID)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Mend the links of a page; without the script, diagrams are shown as text."""
    if not MERMAID.is_file():
        markdown = markdown.replace(_DIAGRAM, "```text")
    return with_links(markdown, page.file.src_uri)


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Load the script on pages with a diagram only, from the site itself."""
    if MERMAID.is_file() and 'class="mermaid"' in output:
        depth = page.url.count("/")
        return output.replace("</body>", f'<script src="{"../" * depth}{_SCRIPT}"></script></body>')
    return output


def _fill(nav: Any, title: str, pages: list[str]) -> None:
    for entry in nav:
        if isinstance(entry, dict):
            for name, value in entry.items():
                if name == title:
                    entry[name] = pages
                elif isinstance(value, list):
                    _fill(value, title, pages)
