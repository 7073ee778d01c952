"""Runs the operator suite and writes its results: `make atlas`, or `python -m atlas [PATTERN...]`.

Results are kept in a file as they arrive, so that the same command goes on where it was stopped.
"""

import argparse
import os
import sys
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

import orjson

from atlas.cases import CASES
from atlas.suite import Result, kept_results, key_of, run_suite
from atlas.writing import FILE, PAGE, write
from nnlite.vocabulary import Precision
from nnlite_conversion.cache_key import converter_tag
from nnlite_conversion.preload import preload

#: mixed is int8 where that is right.
PRECISIONS = (Precision.FP32, Precision.FP16, Precision.DYNAMIC, Precision.INT8)
KEPT = Path(os.environ.get("NNLITE_HOME", ".nnlite"), "atlas", "results.jsonl")


def main() -> int:
    """Run what has no result yet; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m atlas", description=__doc__)
    parser.add_argument("patterns", nargs="*", help="only cases whose name is like one of these")
    parser.add_argument("--again", action="store_true", help="also cases that have a result")
    parser.add_argument("--bad", action="store_true", help="with --again: only those that are not ok")
    parser.add_argument("--write", action="store_true", help="run nothing: write what there is")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time")
    arguments = parser.parse_args()
    if arguments.bad and not arguments.again:
        parser.error("--bad chooses among what has a result: add --again")
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    results = {result["case"]: result for result in kept_results(KEPT)}
    cases = [
        case
        for name, case in CASES.items()
        if not arguments.patterns or any(fnmatchcase(name, pattern) for pattern in arguments.patterns)
    ]
    todo = [
        case
        for case in cases
        if (known := results.get(case.name)) is None
        or known["key"] != key_of(case, PRECISIONS)
        or (arguments.again and not (arguments.bad and _is_ok(known)))
    ]
    # The first case of each operator, then the second of each: what is stopped early is broad.
    seen: Counter[str] = Counter()
    rounds = {case.name: seen.update([case.operator]) or seen[case.operator] for case in cases}
    todo.sort(key=lambda case: rounds[case.name])
    if arguments.write:
        todo = []
    if todo:
        preload()
    with KEPT.open("ab") as file:

        def keep(result: Result) -> None:
            results[result["case"]] = result
            file.write(orjson.dumps(result) + b"\n")
            file.flush()
            done.append(result)
            states = " ".join(of["state"] for of in result["precisions"].values())
            print(f"{len(done)}/{len(todo)} {result['case']}: {states}", file=sys.stderr, flush=True)

        done: list[Result] = []
        run_suite(todo, PRECISIONS, jobs=max(1, arguments.jobs), on_result=keep)
    if not arguments.patterns and not results:
        parser.error(f"no results in {KEPT}: run the suite before its results are written")
    if not arguments.patterns:
        write([results[name] for name in CASES if name in results], len(CASES), converter_tag())
        print(f"wrote {FILE} and {PAGE}")
    return 0


def _is_ok(result: Result) -> bool:
    return all(of["state"] == "ok" for of in result["precisions"].values())


if __name__ == "__main__":
    sys.exit(main())
