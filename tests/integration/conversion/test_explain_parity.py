"""Explaining parity: a converted network next to its graph, in the sandbox and by the command."""

import copy
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from integration.conversion.models import network
from nnlite.artifacts.calibration import Calibration, CalibrationKind
from nnlite.cli import main
from nnlite.errors import Failure
from nnlite.vocabulary import Precision, StepState
from nnlite_conversion.isolation.conversion import answer
from nnlite_conversion.messages import Explanation
from nnlite_conversion.pipeline.lowering import lower as lowering

TWO_LAYERS = network(
    """
    seen = F.relu(self.conv(x))
    return self.head(seen.mean((2, 3)))
    """,
    "self.conv = torch.nn.Conv2d(3, 8, 3); self.head = torch.nn.Linear(8, 4)",
)


def test_every_operator_of_a_right_artifact_is_right(job, settings, place):
    explanation = answer(Explanation, job(TWO_LAYERS), settings, workdir=place)

    by_operator = {step.operator: step for step in explanation.steps}
    assert explanation.departs is None and explanation.note is None
    assert by_operator["aten.conv2d"].state is StepState.FUSED
    assert by_operator["aten.relu"].artifact_operator == "CONV_2D"
    assert by_operator["aten.linear"].module == "head"
    assert by_operator["aten.relu"].line.endswith("seen = F.relu(self.conv(x))")


def test_the_operator_that_is_converted_wrongly_is_named(job, settings, place, monkeypatch):
    lower = lowering.lower

    def lower_wrongly(program, module, samples, path):
        program = copy.deepcopy(program)
        for node in program.graph.find_nodes(op="call_function", target=torch.ops.aten.relu.default):
            node.target = torch.ops.aten.neg.default
        return lower(program, module, samples, path)

    monkeypatch.setattr(lowering, "lower", lower_wrongly)

    explanation = answer(Explanation, job(TWO_LAYERS), settings, workdir=place)

    departing = explanation.steps[explanation.departs]
    assert (departing.operator, departing.state) == ("aten.relu", StepState.DEPARTS)
    assert "largest difference" in departing.reason


def test_a_quantized_artifact_tells_what_each_operator_loses(job, settings, place):
    calibrated = replace(
        job(TWO_LAYERS, precisions=(Precision.INT8,)),
        calibration=Calibration(kind=CalibrationKind.NOISE, samples=8),
    )

    explanation = answer(Explanation, calibrated, settings, workdir=place)

    lost = [step.own_sqnr_db for step in explanation.steps if step.own_sqnr_db is not None]
    assert explanation.precision is Precision.INT8
    assert len(lost) >= 3 and 20 < min(lost) < 80


def test_an_output_that_has_no_finite_value_is_said_not_to_be_compared(job, settings, place):
    explanation = answer(Explanation, job(network("return (x - x) / (x - x)")), settings, workdir=place)

    assert explanation.departs is None
    assert explanation.note == "an output has no finite value for this input: nothing was compared there"


def test_a_network_that_cannot_be_converted_says_why(job, settings, place):
    with pytest.raises(Failure, match="forward fails"):
        answer(Explanation, job(network("return x + missing")), settings, workdir=place)


@pytest.mark.usefixtures("jobs_in_forks")
def test_the_command_prints_the_same_as_json(tmp_path: Path, monkeypatch, capfd):
    (tmp_path / "net.py").write_text(
        "import torch\nclass Half(torch.nn.Module):\n    def forward(self, x):\n        return x.sin() / 2\n"
    )
    command = "explain-parity net.py --source files --path net.py --input 1x8 --json"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NNLITE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "argv", ["nnlite", *command.split()])

    with pytest.raises(SystemExit) as ended:
        main()

    assert not ended.value.code
    (explanation,) = json.loads(capfd.readouterr().out)
    assert [step["operator"] for step in explanation["steps"]] == ["aten.sin", "aten.div"]
    assert explanation["departs"] is None and explanation["model"] == "net.py"
