"""The view `op_support`, where a model has an ONNX file too."""

from sqlalchemy import text

from integration.canned import finish_conversion
from integration.conftest import Cluster
from nnlite.backends import RUNTIME_OF_FORMAT

REFUSED = text("""
INSERT INTO refused_precision (conversion_id, cache_key, precision, converter, stage, reason, details)
VALUES (:id, 'key', :precision, 'converter', 'export', 'no', jsonb_build_object('operator', :operator))
""")


def test_an_onnx_file_neither_counts_as_a_precision_nor_hides_that_one_is_refused(cluster: Cluster) -> None:
    cluster.submit("one", name="night")
    (row,) = cluster.rows("SELECT id FROM conversion")
    finish_conversion(cluster, row["id"], path="00/one.onnx", graph_operators=None)
    with cluster.engine.begin() as connection:
        for precision, operator in (
            ("fp32", "aten.first"),
            *((each, "aten.second") for each in RUNTIME_OF_FORMAT),
        ):
            connection.execute(REFUSED, {"id": row["id"], "precision": precision, "operator": operator})

    assert cluster.rows("SELECT * FROM op_support") == [
        {"operator": "aten.first", "precision": "fp32", "state": "refused", "models": 1}
    ]
