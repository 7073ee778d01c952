"""Converts public architectures that can be built without downloads: `make architectures`.

Each has fresh weights and is converted to fp32 and int8, calibrated on noise. Results are kept as they
arrive, so that the same command goes on where it was stopped, and written to docs/architectures.md.
"""

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.catalog.model import ModelInput, ModelSpec
from nnlite.errors import Failure
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import ModelFormat, Precision
from nnlite_conversion.cache_key import converter_tag
from nnlite_conversion.isolation.conversion import convert
from nnlite_conversion.outcome import ConversionJob
from nnlite_conversion.preload import preload

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
torchvision {torchvision}, timm {timm}. int8 is calibrated on noise. Fresh weights often give nearly the
same output for every input, which eight bits cannot tell apart: then int8 is `off`.

| state | fp32 | int8 |
|---|---|---|
{totals}

| network | fp32 | int8 | reason |
|---|---|---|---|
"""
STATES = ("ok", "off", "unknown", "refused")

Result = dict[str, Any]


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


def converted(network: str, place: Path) -> Result:
    """Convert one network in the folder `place`; return its state and reason for each precision."""
    precisions = (Precision.FP32, Precision.INT8)
    job = ConversionJob(
        model=spec_of(network),
        precisions=precisions,
        max_parameters=200_000_000,
        calibration=Calibration(kind=CalibrationKind.NOISE, samples=4),
    )
    try:
        with convert(job, ConversionSettings(), workdir=place, tick=lambda stage: True) as outcome:
            states = {
                artifact.precision.value: [artifact.parity.state.value, artifact.parity.reason or ""]
                for artifact in outcome.artifacts
                if artifact.parity
            }
            states |= {each.precision.value: ["refused", each.reason] for each in outcome.refused}
    except Failure as failure:
        states = {each.value: ["refused", failure.reason] for each in precisions}
    return {"network": network, "states": states}


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
    )  # fmt: skip
    return head + "".join(map(_line, results))


def _line(result: Result) -> str:
    states = result["states"]
    reasons = dict.fromkeys(reason.replace("|", "\\|") for _, reason in states.values() if reason)
    cells = (result["network"], states["fp32"][0], states["int8"][0], "; ".join(reasons))
    return f"| {' | '.join(cells)} |\n"


def _kept(names: Iterable[str]) -> dict[str, Result]:
    lines = KEPT.read_bytes().splitlines() if KEPT.exists() else []
    known = {result["network"]: result for result in map(orjson.loads, lines)}
    return {name: known[name] for name in names if name in known}


def main() -> int:
    """Convert what has no result yet, write the page, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m architectures", description=__doc__)
    parser.add_argument(
        "networks", nargs="*", help="only these, such as 'timm tinynet_e'; no page is written"
    )
    arguments = parser.parse_args()
    if unknown := sorted({*arguments.networks} - {*NETWORKS}):
        parser.error(f"unknown networks: {', '.join(unknown)}")
    names = arguments.networks or NETWORKS
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    results = _kept(names)
    left = [name for name in names if name not in results]
    if left:
        preload()
    with tempfile.TemporaryDirectory(prefix="nnlite-architectures-") as folder, KEPT.open("ab") as file:
        place = Path(folder)
        place.chmod(0o755)  # model code runs as an account of its own
        for number, name in enumerate(left, 1):
            results[name] = converted(name, place)
            file.write(orjson.dumps(results[name]) + b"\n")
            file.flush()
            states = " ".join(state for state, _ in results[name]["states"].values())
            print(f"{number}/{len(left)} {name}: {states}", file=sys.stderr, flush=True)
    if not arguments.networks:
        PAGE.write_text(page([results[name] for name in NETWORKS]))
        print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
