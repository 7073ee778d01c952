"""Further runtimes of hosts: which of them compute with XNNPACK, and which refusals are of a format"""

from alembic import context

from nnlite.db.replacing_views import changed, replace_views, result_views

revision = "0031"
down_revision = "0030"

#: The last revisions before this one that changed the views.
VIEWS_OF, OP_SUPPORT_OF = "0030", "0023"

#: Of the view `measurement_run`, which `latency` selects from: before, after.
XNNPACK = (
    "x.backend = 'cpu' AS xnnpack",
    "x.backend IN ('cpu', 'tflite-app', 'executorch') AS xnnpack",
)
#: Of `op_support`: what is no precision is a format.
FORMATS = ("p.precision <> 'onnx'", "p.precision NOT IN ('onnx', 'pte')")


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    return changed(result_views(VIEWS_OF), XNNPACK)


def upgrade() -> None:
    replace_views(views())
    replace_views(changed(_op_support(), FORMATS))


def downgrade() -> None:
    replace_views(_op_support())
    replace_views(result_views(VIEWS_OF))


def _op_support() -> dict[str, str]:
    return {"op_support": context.script.get_revision(OP_SUPPORT_OF).module.OP_SUPPORT}
