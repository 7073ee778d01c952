"""`nnlite effects`: configurations of one architecture in the database."""

from dataclasses import replace

from integration.canned import finish_benchmark, finish_conversion, with_median
from nnlite.cli.effects import effect_row
from nnlite.results.effects import effects
from nnlite.vocabulary import Verdict
from toys import LINEAR

CODE = LINEAR.replace("out_shape[0]", 'int(prm["width"])')


def test_configurations_of_one_code_are_compared(cluster):
    narrow = cluster.toys.add("Net", CODE, hyperparameters={"width": 8, "lr": 0.1})
    wide = replace(narrow, name="Net@width=32", hyperparameters={"width": 32, "lr": 0.2})
    cluster.toys._models.append(wide)
    submitted = cluster.submit("Net", "Net@width=32", name="widths", pools=("phones",))
    rows = cluster.rows(
        "SELECT v.id, m.name FROM conversion v JOIN model m ON m.id = v.model_id WHERE v.campaign_id = :id",
        id=submitted.id,
    )
    for row in rows:
        (message,) = finish_conversion(cluster, row["id"])
        median_ns = 2_000_000 if row["name"] == "Net" else 6_000_000
        measured = with_median(median_ns, median_ns - 100_000, median_ns + 100_000)
        finish_benchmark(cluster, message.row_id, measured)
    (effect,) = effects(cluster.engine, "widths")
    shown = effect_row(effect)
    assert (shown["architecture"], shown["setting"], shown["factor"]) == ("Net", "width", "3.00")
    assert (shown["faster"], shown["slower"], shown["changed"]) == ("8", "32", "1 of 1")
    assert effects(cluster.engine, "another") == effects(cluster.engine, "widths", (Verdict.NOISY,)) == []
