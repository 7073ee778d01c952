"""Networks from files, converted: several inputs and outputs, and a program as the code that it came from."""

from dataclasses import replace

import numpy as np
import torch

from integration.conversion.models import CLASSIFIER
from nnlite.inputs import from_raw_bytes
from nnlite.vocabulary import ModelForm
from nnlite_conversion.conversion import convert
from unit.conversion.networks import IMAGE, NAMES, TWO


def run(job, settings, place):
    """Return a context with the outcome."""
    return convert(
        job, settings, workdir=place, ledger=place / "ledger", tick=lambda stage: True, tick_s=0.02
    )


def test_a_class_with_two_inputs_and_two_outputs_is_converted_and_compared(job, settings, place):
    asked = job(TWO)
    model = replace(
        asked.model, form=ModelForm.PYTHON, entry="Two", inputs=(IMAGE, NAMES), hyperparameters={"width": 4}
    )
    with run(replace(asked, model=model), settings, place) as outcome:
        (made,) = outcome.artifacts
        taken = [(spec.shape, spec.dtype) for spec in made.inputs]
        assert taken == [((1, 8, 8, 3), "float32"), ((1, 5), "int32")]
        assert [spec.shape for spec in made.outputs] == [(1, 4), (1, 4)]
        assert made.parity.ok, made.parity.reason
        both, picture = (
            from_raw_bytes(file.read_bytes(), (1, 4), "float32") for file in made.reference_outputs
        )
    assert not np.array_equal(both, picture)


def test_a_program_is_rewritten_and_comes_out_as_its_code_does(job, settings, place, tmp_path):
    pooled = "F.adaptive_max_pool2d(self.conv(x), 1).flatten(1)"
    code = CLASSIFIER.replace("F.relu(self.conv(x)).mean((2, 3))", pooled)
    namespace: dict = {}
    exec(code, namespace)
    torch.manual_seed(0)
    network = namespace["Net"]((1, 3, 8, 8), (4,), {"lr": 0.1}, torch.device("cpu")).eval()
    program = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3, 8, 8),)), program)
    of_code = job(code)
    model = replace(
        of_code.model, form=ModelForm.EXPORTED, code=None, weights="its own", weights_suffix=".pt2"
    )
    of_program = replace(of_code, model=model, model_file=program)

    with run(of_code, settings, place) as first, run(of_program, settings, place) as second:
        (wanted,), (got,) = first.artifacts, second.artifacts
        assert got.reference_outputs[0].read_bytes() == wanted.reference_outputs[0].read_bytes()
    assert got.operators == wanted.operators
    assert got.rewrites == wanted.rewrites == ("adaptive_max_pool2d",)
