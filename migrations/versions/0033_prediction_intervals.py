"""Intervals by order statistics of a device's own duplicates, and by an assumption until it has enough"""

from alembic import context, op

from nnlite.db.replacing_views import changed, replace_views, result_views

revision = "0033"
down_revision = "0032"

#: The last revisions before this one that changed the views of results, and that of duplicates.
VIEWS_OF = "0032"
DUPLICATE_OF = "0027"

#: What is assumed of a device: as if so many pairs of runs had been seen that differ by so much. Intervals of
#: shared virtual machines then cover the next run in 90 to 98 of 100 cases, from no pair on; 19 pairs of the
#: device's own replace it.
ASSUMED_PAIRS, ASSUMED_DIFFERENCE = 3, 0.06
#: 97.5th percentile of Student's t for the degrees of freedom `ASSUMED_PAIRS` + 0, 1, ... 18 pairs.
_STUDENT = (
    "3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, "
    "2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080"
)
_ASSUMED_SQUARES = f"{ASSUMED_PAIRS} * {ASSUMED_DIFFERENCE}::float8 ^ 2"


def _few(pairs: str, squares: str) -> str:
    """Return in which difference the next pair lies in 95 of 100 cases; null from 19 pairs on.

    Args:
        pairs: expression for their number.
        squares: for the sum of the squares of their differences.
    """
    scale = f"sqrt(({_ASSUMED_SQUARES} + {squares}) / ({ASSUMED_PAIRS} + {pairs}))"
    return f"(ARRAY[{_STUDENT}]::float8[])[{pairs} + 1] * {scale}"


#: Of n differences the next one is below the k-th smallest in k of n + 1 cases, whatever their distribution.
#: From 19 on there is a k for 95 of 100; null where there are fewer.
_MANY = "(array_agg(difference ORDER BY difference){of})[ceil(0.95 * (count(*){of} + 1))::int]"
_OTHER_DAYS = " FILTER (WHERE NOT same_day)"

#: Of the view `measurement_run`: before, after.
SPREAD = (
    """           CASE WHEN max(between_runs) IS NOT NULL THEN greatest(
               max(between_runs),
               percentile_cont(0.9) WITHIN GROUP (ORDER BY difference) FILTER (WHERE same_day) / 2.3262
           ) END AS spread
""",
    f"""           count(*) AS pairs, greatest(
               coalesce({_MANY.format(of="")}, {_few("count(*)", "sum(difference ^ 2)")}),
               {_MANY.format(of=_OTHER_DAYS)}
           ) AS difference
""",
)
PAIRS = ("y.std AS between_runs,", "y.std AS between_runs, coalesce(y.pairs, 0) AS interval_pairs,")
_WITHIN = "(x.median_high_ns - x.median_low_ns) / 2.0 / nullif(x.median_ns, 0)"
_HALF_WIDTH_BEFORE = (
    "sqrt(\n    (coalesce(x.median_high_ns - x.median_low_ns, 0) / 2.0 / nullif(x.median_ns, 0)) ^ 2"
    " + 2 * (1.96 * y.spread) ^ 2\n)"
)
#: Of the logarithm of the ratio. Another measurement varies within its run too, hence the square root of 2.
#: Null where neither the run nor the device's duplicates give an interval.
_HALF_WIDTH = f"""greatest(
    sqrt(2) * {_WITHIN},
    coalesce(y.difference, CASE WHEN x.median_low_ns IS NOT NULL THEN {_few("0", "0")} END)
)"""
LOW = (f"x.median_ns * (1 - {_HALF_WIDTH_BEFORE})", f"x.median_ns * exp(-{_HALF_WIDTH})")
HIGH = (f"x.median_ns * (1 + {_HALF_WIDTH_BEFORE})", f"x.median_ns * exp({_HALF_WIDTH})")

#: Of the view `device_duplicate`, whose columns stay: a pair agrees with what its device's others predict.
RANKED = (
    "HAVING count(*) >= 5\n)\nSELECT p.",
    """HAVING count(*) >= 5
), ranked AS (
    SELECT *, count(*) OVER (PARTITION BY device_id, backend, threads) AS pairs,
           sum(difference ^ 2) OVER (PARTITION BY device_id, backend, threads) - difference ^ 2
               AS squares_of_others,
           rank() OVER (PARTITION BY device_id, backend, threads ORDER BY difference) AS rank
    FROM compared
)
SELECT p.""",
)
FROM_RANKED = ("FROM compared p LEFT JOIN", "FROM ranked p LEFT JOIN")
AGREES = (
    """       -- Beyond both intervals, with the part between runs where it is known; never for less than 5 %.
       p.difference <= greatest(
           0.05, sqrt(p.half_width ^ 2 + p.earlier_half_width ^ 2 + 2 * (1.96 * coalesce(s.std, 0)) ^ 2)
       ) AS agrees""",
    f"""       -- Within the interval that the other pairs give; never a disagreement for less than 5 %.
       p.difference <= greatest(
           0.05, sqrt(2) * p.half_width, sqrt(2) * p.earlier_half_width,
           {_few("(p.pairs - 1)", "p.squares_of_others")}
       ) OR p.pairs > 19 AND p.rank <= ceil(0.95 * p.pairs) AS agrees""",
)


def views() -> dict[str, str]:
    """Return the views of this revision that replace those of the same names before, in order of creation."""
    return changed(result_views(VIEWS_OF), SPREAD, PAIRS, LOW, HIGH)


def upgrade() -> None:
    replace_views(views())
    (duplicate,) = changed({"": _duplicate()}, RANKED, FROM_RANKED, AGREES).values()
    op.execute(duplicate)


def downgrade() -> None:
    op.execute(_duplicate())
    replace_views(result_views(VIEWS_OF))


def _duplicate() -> str:
    module = context.script.get_revision(DUPLICATE_OF).module
    (view,) = changed({"": module._duplicate()}, *module.APART).values()
    return view
