"""Converts public architectures that can be built without downloads: `make architectures`.

Each has fresh weights and is converted to fp32 and int8, calibrated on noise. Results are kept as they
arrive, so that the same command goes on where it was stopped, and written to docs/architectures.md.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from networks import MAX_PARAMETERS, PRECISIONS, Result, by_revision, cell, convert_all
from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.catalog.model import ModelInput, ModelSpec
from nnlite.vocabulary import ModelFormat
from nnlite_conversion.cache_key import converter_tag
from nnlite_conversion.outcome import ConversionJob

KEPT = Path(os.environ.get("NNLITE_HOME", ".nnlite"), "architectures.jsonl")
PAGE = Path(__file__).parents[1] / "docs" / "architectures.md"

#: Library, kind and name of each.
NETWORKS = Path(__file__).with_suffix(".txt").read_text().splitlines()
SIDE = 224
SIDES = {
    "torchvision inception_v3": 299,
    "timm crossvit_tiny_240": 240,
    "timm maxvit_rmlp_pico_rw_256": 256,
}
#: Builds `net` and takes its output from `y`, by the kind of network.
_KINDS = {
    "torchvision": ("import torchvision\n{indent}net = torchvision.models.{name}(weights=None)", "y"),
    "torchvision segmentation": (
        "import torchvision\n"
        "{indent}net = torchvision.models.segmentation.{name}(weights=None, weights_backbone=None)",
        "y['out']",
    ),
    "timm": ("import timm\n{indent}net = timm.create_model('{name}', pretrained=False)", "y"),
}
_CODE = """\
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        {build}
        self.net = net

    def forward(self, x):
        y = self.net(x)
        return {output}
"""
_HEAD = """\
# Which public architectures are converted

Made by `make architectures` of {networks} networks that can be built without downloads, with fresh weights,
with {libraries},
torchvision {torchvision}, timm {timm}, at these revisions of nnlite (networks): {revisions}.
int8 is calibrated on noise. Fresh weights often give nearly the
same output for every input, which eight bits cannot tell apart: then int8 is `off`.

| state | fp32 | int8 |
|---|---|---|
{totals}

| network | fp32 | int8 | reason |
|---|---|---|---|
"""
STATES = ("ok", "off", "unknown", "refused")


def spec_of(network: str) -> ModelSpec:
    """Return a network as a conversion takes it."""
    kind, _, name = network.rpartition(" ")
    build, output = _KINDS[kind]
    side = SIDES.get(network, SIDE)
    return ModelSpec(
        name=network.replace(" ", "_"),
        code=_CODE.format(build=build.format(name=name, indent=" " * 8), output=output),
        transform_code=None,
        inputs=(ModelInput(shape=(1, 3, side, side)),),
        model_format=ModelFormat.PYTHON,
        entry_point="Net",
    )


def job_of(network: str) -> ConversionJob:
    """Return the conversion of a network."""
    return ConversionJob(
        model=spec_of(network),
        precisions=PRECISIONS,
        max_parameters=MAX_PARAMETERS,
        calibration=Calibration(kind=CalibrationKind.NOISE, samples=4),
    )


def page(results: Sequence[Result]) -> str:
    """Return the results as a page."""
    counts = Counter(
        (precision, each[0]) for result in results for precision, each in result["states"].items()
    )
    totals = "\n".join(f"| {state} | {counts['fp32', state]} | {counts['int8', state]} |" for state in STATES)
    libraries = ", ".join(converter_tag().split(", ")[:4])
    head = _HEAD.format(
        networks=len(results), libraries=libraries, totals=totals,
        torchvision=version("torchvision"), timm=version("timm"),
        revisions=by_revision(results),
    )  # fmt: skip
    return head + "".join(map(_line, results))


def _line(result: Result) -> str:
    states = result["states"]
    reasons = dict.fromkeys(cell(reason) for _, reason in states.values() if reason)
    cells = (result["network"], states["fp32"][0], states["int8"][0], "; ".join(reasons))
    return f"| {' | '.join(cells)} |\n"


def main() -> int:
    """Convert what has no result yet, write the page, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m architectures", description=__doc__)
    parser.add_argument(
        "networks", nargs="*", help="only these, such as 'timm tinynet_e'; no page is written"
    )
    arguments = parser.parse_args()
    if unknown := sorted({*arguments.networks} - {*NETWORKS}):
        parser.error(f"unknown networks: {', '.join(unknown)}")
    results = convert_all(arguments.networks or NETWORKS, job_of, KEPT)
    if not arguments.networks:
        PAGE.write_text(page(list(results.values())))
        print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
