"""Writes the results of the operator suite: the package's file, and the page of the documentation."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from atlas.suite import Result
from nnlite.results.operators import STATES, SUITE, atlas, table
from nnlite.vocabulary import Precision

ROOT = Path(__file__).parents[2]
FILE = ROOT / "services" / "nnlite" / "results" / SUITE
PAGE = ROOT / "docs" / "operators.md"

_HEAD = """\
# Which operators are converted

Made by `make atlas`: {tried:,} of the suite's {total:,} networks of one operator each, in the ranks,
strides, modes and types that networks of vision, audio, text and detection use, with {libraries}.
Each artifact is compared with PyTorch as that of a model is, and once more on inputs that this
comparison has not seen. `nnlite atlas` shows the same, with the number of your own models that have each
operator; in SQL it is the view `op_support`.

| state | meaning | fp32 | fp16 | dynamic | int8 |
|---|---|---|---|---|---|
{totals}

`mixed` is `int8` where that is right. Operators are named as the exported graph names them, layers of several
operators as PyTorch does.

"""
_MEANINGS = {
    "ok": "right",
    "off": "beyond the limits of parity, and marked so",
    "unknown": "could not be judged, and marked so",
    "refused": "not converted, or refused by LiteRT; the reason says what to do instead",
    "wrong": "parity says `ok`, further inputs differ",
}


def write(results: Sequence[Result], total: int, made_by: str) -> None:
    """Write the package's file and the page.

    Args:
        total: number of cases in the suite.
        made_by: versions of the libraries and of the rewrites.
    """
    cases = [
        _compact(result) for result in sorted(results, key=lambda each: (each["operator"], each["variant"]))
    ]
    content = {"made_by": made_by, "all": total, "cases": cases}
    lines = ",\n".join(orjson.dumps(case).decode() for case in cases)
    head = orjson.dumps({**content, "cases": []}).decode().removesuffix("[]}")
    FILE.write_text(f"{head}[\n{lines}\n]}}\n")
    PAGE.write_text(page(cases, total, made_by))


def page(cases: Sequence[dict[str, Any]], total: int, made_by: str) -> str:
    """Return the page."""
    rows = [
        {"operator": case["operator"], "precision": precision, "state": state}
        for case in cases
        for precision, state in case["states"].items()
    ]
    counts = Counter((row["state"], row["precision"]) for row in rows)
    precisions = [str(each) for each in Precision if each is not Precision.MIXED]
    totals = "\n".join(
        f"| {state} | {meaning} | {' | '.join(str(counts[state, each]) for each in precisions)} |"
        for state, meaning in _MEANINGS.items()
    )
    libraries = ", ".join(made_by.split(", ")[:4])
    head = _HEAD.format(tried=len(cases), total=total, libraries=libraries, totals=totals)
    return "".join([head, _by_operator(rows), _reasons(cases)])


def _by_operator(rows: Iterable[dict[str, Any]]) -> str:
    lines = ["## By operator\n\n| operator | precision | cases |\n|---|---|---|\n"]
    lines += [
        f"| `{row['operator']}` | {row['precision']} | {row['suite']} |\n" for row in table(atlas(rows, ()))
    ]
    return "".join(lines)


def _reasons(cases: Iterable[dict[str, Any]]) -> str:
    """Return what is not ok, by state and reason."""
    grouped: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for case in cases:
        for precision, state in case["states"].items():
            if state != "ok":
                reason = case["reasons"].get(precision, case["reasons"].get("*", ""))
                grouped[state, reason][f"`{case['operator']}` {_escaped(case['variant'])}".strip()].append(
                    precision
                )
    lines = []
    for state in STATES[1:]:
        found = {reason: of for (of_state, reason), of in grouped.items() if of_state == state}
        if not found:
            continue
        lines.append(f"\n## {state.capitalize()}\n\n| case | precision | reason |\n|---|---|---|\n")
        for reason, of in sorted(found.items(), key=lambda item: min(item[1])):
            lines += [
                f"| {name} | {' '.join(precisions)} | {_escaped(reason)} |\n"
                for name, precisions in of.items()
            ]
    return "".join(lines)


def _compact(result: Result) -> dict[str, Any]:
    precisions = result["precisions"]
    reasons = {precision: of["reason"] for precision, of in precisions.items() if "reason" in of}
    if len(reasons) == len(precisions) and len(set(reasons.values())) == 1:
        reasons = {"*": next(iter(reasons.values()))}
    return {
        "operator": qualified(result["operator"]),
        "variant": result["variant"],
        "states": {precision: of["state"] for precision, of in precisions.items()},
        "reasons": reasons,
    }


def qualified(operator: str) -> str:
    """Return an operator as graphs name it, such as `aten.conv2d`; others as they are."""
    import torch
    import torchvision  # noqa: F401  (registers its operators)

    for namespace in ("aten", "torchvision"):
        if hasattr(getattr(torch.ops, namespace), operator):
            return f"{namespace}.{operator}"
    return operator


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
