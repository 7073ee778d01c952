"""Converts 300 random models of LEMUR, and all that people named: `make lemur-coverage`.

To fp32 and int8, with the weights that each draws. Results are kept as they arrive, so that the same command
goes on where it was stopped, and written to docs/lemur-coverage.md with the cause of every failure.
"""

import argparse
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from networks import MAX_PARAMETERS, PRECISIONS, Result, by_revision, cell, convert_all, kept_results
from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.catalog.model import CatalogModel, ModelDefinition, ModelSource, ModelSpec
from nnlite.catalog.selection import sample
from nnlite.catalog.sources import load_source
from nnlite.settings import load_settings
from nnlite.settings.groups import ConversionSettings
from nnlite_conversion.cache_key import converter_tag
from nnlite_conversion.outcome import ConversionJob

KEPT = Path(os.environ.get("NNLITE_HOME", ".nnlite"), "lemur-coverage.jsonl")
PAGE = Path(__file__).parents[1] / "docs" / "lemur-coverage.md"
MODELS = 300
SEED = 15
SAMPLES = 8
#: The run shall end, whatever else the machine does.
_SETTINGS = ConversionSettings(timeout_s=1800, absolute_timeout_s=3600)
#: Models that programs made: families of generators, and architectures whose name is a hash.
_GENERATED = re.compile(r"(ga|alt|ast|rag|rl|FractalNet)-|[0-9a-f]{32}$")
_VARIANT = re.compile(r"-[0-9a-f]{8}-[0-9a-f]{4}-")


class Cause(NamedTuple):
    """Why a model is not converted, or not right."""

    what: str
    whose: str
    #: Whether an artifact could compute such a network.
    possible: bool = True


#: By what the reason contains; the first one counts.
_CAUSES: Mapping[str, Cause] = {
    "complex input": Cause("takes complex numbers", "the format's", possible=False),
    "loads a tokenizer|tries to download": Cause(
        "needs a text encoder or weights from the network", "the model's: its data", possible=False
    ),
    "has two stages": Cause("crops regions that depend on the image", "the model's", possible=False),
    "forward returns a": Cause("returns no tensor", "the model's", possible=False),
    "the forward pass is random": Cause("draws numbers", "the model's", possible=False),
    "did not end within": Cause("does not end", "the model's", possible=False),
    "constructor fails": Cause("cannot be built, whatever it is given", "the model's", possible=False),
    "NNLITE_CATALOG__MAX_PARAMETERS": Cause(
        "has more parameters than the limit", "a setting's", possible=False
    ),
    "control flow depends": Cause("branches on the values of its input", "the model's"),
    "depends on the input's values": Cause("has sizes that depend on values", "the model's"),
    "no calibration data": Cause("needs calibration data of its user", "the model's: its data"),
    r"axis \d+ index \d+: signal to": Cause("eight bits lose a class of another scale", "the quantizer's"),
    "signal to quantization noise": Cause("eight bits are too few for its fresh weights", "the quantizer's"),
    "it is the same for every input": Cause("fresh weights give one output for all inputs", "the model's"),
    "LiteRT on the host refuses": Cause("LiteRT does not run the artifact", "the runtime's"),
    "exceeded its limit": Cause("exceeds a limit of time or memory", "the converter's"),
    "cannot be lowered": Cause("has an operator that is not lowered", "the converter's"),
}
_UNKNOWN = Cause("another cause", "ours, until it is known")

_HEAD = """\
# Which models of LEMUR are converted

Made by `make lemur-coverage` with {libraries},
at these revisions of nnlite (models): {revisions}:
models drawn uniformly from all {all:,} (seed {seed}), and those that people named, with their
variants. Each has the weights that it draws; int8 is calibrated on {samples} pictures, on noise where an
input is no image. Results are kept, and not tried again with a newer revision.{partial}

Converted is what gives PyTorch's outputs within the limits of its precision, and what cannot be judged
because fresh weights give one output for all inputs. No artifact can run models that take complex numbers,
return no tensor, draw numbers, crop regions that depend on the image, or need a text encoder or weights from
the network, nor those that cannot be built; models of more than {parameters:,} parameters are left out, too.

| models | tried | fp32 | fp32, of what an artifact can run | int8, of what an artifact can run |
|---|---|---|---|---|
{totals}

## Failures by cause

| cause | whose | precision | models | for example |
|---|---|---|---|---|
"""
_PARTIAL = """ Where fewer were tried than
chosen, they are the first by name and those of the other group: no random ones."""
_RIGHT = frozenset({"ok", "unknown"})
_EXAMPLES = 4


def named(models: Iterable[CatalogModel]) -> list[CatalogModel]:
    """Return the models that people named, and then the variants of these."""
    chosen = (model for model in models if not _GENERATED.match(model.name))
    return sorted(chosen, key=lambda model: (bool(_VARIANT.search(model.name)), model.name))


def job_of(source: ModelSource, model: CatalogModel) -> ConversionJob:
    """Return the conversion of a model."""
    kind = CalibrationKind.NOISE if model.inputs else CalibrationKind.SKLEARN
    shared = {field.name: getattr(model, field.name) for field in fields(ModelDefinition)}
    return ConversionJob(
        model=ModelSpec(code=source.code(model), transform_code=source.transform_code(model), **shared),
        precisions=PRECISIONS,
        max_parameters=MAX_PARAMETERS,
        calibration=Calibration(kind=kind, samples=SAMPLES),
    )


def cause_of(reason: str) -> Cause:
    """Return what a reason is an instance of."""
    return next((cause for pattern, cause in _CAUSES.items() if re.search(pattern, reason)), _UNKNOWN)


def page(groups: Mapping[str, Sequence[str]], results: Mapping[str, Result], all_models: int) -> str:
    """Return the page.

    Args:
        groups: names of models by how they were chosen.
        results: of those that were tried.
        all_models: number of LEMUR's models.
    """
    tried = {group: [results[name] for name in names if name in results] for group, names in groups.items()}
    totals = "\n".join(_totals(group, len(groups[group]), found) for group, found in tried.items())
    libraries = ", ".join(converter_tag().split(", ")[:4])
    different = {result["network"]: result for found in tried.values() for result in found}
    head = _HEAD.format(
        libraries=libraries,
        revisions=by_revision(different.values()),
        all=all_models,
        seed=SEED,
        samples=SAMPLES,
        totals=totals,
        partial=_PARTIAL if any(len(tried[group]) < len(names) for group, names in groups.items()) else "",
        parameters=MAX_PARAMETERS,
    )
    return head + "".join(_failures(different.values()))


def _totals(group: str, chosen: int, results: Sequence[Result]) -> str:
    right = Counter(
        precision
        for result in results
        for precision, (state, _) in result["states"].items()
        if state in _RIGHT
    )
    possible = sum(cause_of(result["states"]["fp32"][1]).possible for result in results)
    shares = ((right["fp32"], len(results)), (right["fp32"], possible), (right["int8"], possible))
    cells = (f"{part} of {whole} ({part / max(whole, 1):.1%})" for part, whole in shares)
    return f"| {group} | {len(results)} of {chosen} | {' | '.join(cells)} |"


def _failures(results: Iterable[Result]) -> Iterator[str]:
    found: dict[tuple[Cause, str], list[Result]] = defaultdict(list)
    for result in results:
        causes = {each: cause_of(reason) for each, (_, reason) in result["states"].items() if reason}
        if len(causes) == len(PRECISIONS) and len({*causes.values()}) == 1:
            causes = {"both": causes["fp32"]}
        for precision, cause in causes.items():
            found[cause, precision].append(result)
    for (cause, precision), failed in sorted(found.items(), key=lambda each: -len(each[1])):
        reason = failed[0]["states"]["int8" if precision == "int8" else "fp32"][1]
        names = [result["network"] for result in failed]
        more = f" and {len(names) - _EXAMPLES} more" if len(names) > _EXAMPLES else ""
        example = f"{', '.join(names[:_EXAMPLES])}{more}: {cell(reason)}"
        yield f"| {cause.what} | {cause.whose} | {precision} | {len(names)} | {example} |\n"


def main() -> int:
    """Convert what has no result yet, write the page, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lemur_coverage", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these models; no page is written")
    parser.add_argument("--write", action="store_true", help="convert nothing: write what there is")
    arguments = parser.parse_args()
    source = load_source("lemur", load_settings())
    models = {model.name: model for model in sorted(source.models(), key=lambda model: model.name)}
    if unknown := sorted({*arguments.names} - {*models}):
        parser.error(f"unknown models: {', '.join(unknown)}")
    groups = {
        "drawn uniformly": [model.name for model in sample([*models.values()], MODELS, SEED)],
        "named by people": [model.name for model in named(models.values())],
    }
    names = arguments.names or dict.fromkeys(name for group in groups.values() for name in group)
    left = [name for name in names if models[name].skipped is None]
    results = convert_all(
        [] if arguments.write else left, lambda name: job_of(source, models[name]), KEPT, _SETTINGS
    )
    if not arguments.names:
        results |= kept_results(KEPT) | {name: _skipped(models[name]) for name in names if name not in left}
        PAGE.write_text(page(groups, results, len(models)))
        print(f"wrote {PAGE}")
    return 0


def _skipped(model: CatalogModel) -> Result:
    return {"network": model.name, "states": {each: ("skipped", model.skipped) for each in PRECISIONS}}


if __name__ == "__main__":
    sys.exit(main())
