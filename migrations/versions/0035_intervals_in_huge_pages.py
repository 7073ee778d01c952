"""Intervals of runs in huge pages: assume that two of them differ less than two in small pages"""

from alembic import context, op

from nnlite.db.replacing_views import changed, replace_views, result_views

revision = "0035"
down_revision = "0034"

#: The last revision before this one that changed the views of results, and that of duplicates.
BEFORE = "0034"

_ASSUMED = "3 * 0.06::float8 ^ 2"


def _assumed(huge_pages: str) -> str:
    return f"3 * (CASE WHEN {huge_pages} THEN 0.04 ELSE 0.06 END)::float8 ^ 2"


#: Before, after. Of `measurement_run`: by duplicates, and without any.
RUN = (
    (f"{_ASSUMED} + sum(", f"{_assumed('huge_pages')} + sum("),
    (f"{_ASSUMED} + 0", f"{_assumed('x.huge_pages_kb IS NOT NULL')} + 0"),
)
#: Of `device_duplicate`.
AGREES = (f"{_ASSUMED} + p.", f"{_assumed('p.huge_pages')} + p.")


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    return changed(result_views(BEFORE), *RUN)


def upgrade() -> None:
    (duplicate,) = changed({"": _duplicate()}, AGREES).values()
    op.execute(duplicate)
    replace_views(views())


def downgrade() -> None:
    op.execute(_duplicate())
    replace_views(result_views(BEFORE))


def _duplicate() -> str:
    module = context.script.get_revision(BEFORE).module
    (view,) = changed({"": module._duplicate()}, *module.APART).values()
    return view
