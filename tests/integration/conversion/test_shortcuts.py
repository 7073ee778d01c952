"""Artifacts have the same operators and outputs with and without the shortcuts of lowering.

More than 300 lines: the networks that are compared, and one process in which all are lowered.
"""

import multiprocessing
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from atlas.case import Case, case
from atlas.cases import CASES
from integration.conversion.models import network
from nnlite.vocabulary import Shortcut
from nnlite_conversion.isolation.conversion import convert
from nnlite_conversion.pipeline.lowering import fast_lowering
from nnlite_conversion.pipeline.lowering import lower as lowering
from nnlite_conversion.pipeline.lowering.large_weights import LargeWeights, PlaceholderLostError
from nnlite_conversion.pipeline.lowering.rewrites import apply_rewrites
from waiting import HANG_S

#: Common operators of images.
OPERATORS = network(
    """
    y = torch.relu(self.norm(self.conv(x)))
    y = F.max_pool2d(y, 3, 2, 1, ceil_mode=True)
    y = (torch.sigmoid(y) * 2 + torch.tanh(y) - F.silu(y)) / (torch.exp(-y) + 1)
    y = torch.sqrt(y * y + 0.5).permute(0, 2, 3, 1).unsqueeze(1).squeeze(1).clone()
    y = (y + y[:, :1, :1].expand(-1, 5, 5, -1)).reshape(1, -1)
    return self.last(F.relu(self.first(y)))
    """,
    """
    self.conv, self.norm = torch.nn.Conv2d(in_shape[1], 4, 3, padding=1), torch.nn.BatchNorm2d(4)
    self.first, self.last = torch.nn.Linear(100, 8, bias=False), torch.nn.Linear(8, out_shape[0])
    """,
)
#: Linear layers as AlexNet has them.
LAYERS = network(
    "return self.layers(self.conv(x).flatten(1))",
    """
    self.conv = torch.nn.Conv2d(in_shape[1], 4, 3)
    self.layers = torch.nn.Sequential(
        torch.nn.Dropout(), torch.nn.Linear(144, 4), torch.nn.ReLU(inplace=True),
        torch.nn.Dropout(inplace=True), torch.nn.Linear(4, 6), torch.nn.ReLU(),
        torch.nn.Linear(6, out_shape[0]),
    )
    """,
)


#: Some cases of the operator suite.
SUITE = [*CASES][::60]


@pytest.fixture
def converted(job, settings, place):
    """Return a function from code and shortcuts to the hash of the artifact."""

    def run(code: str, *shortcuts: Shortcut) -> str:
        chosen = settings.model_copy(update={"shortcuts": shortcuts})
        with convert(
            job(code, max_parameters=2000), chosen, workdir=place, tick=lambda stage: True
        ) as outcome:
            (artifact,) = outcome.artifacts
            assert artifact.parity.state == "ok"
            return artifact.sha256

    return run


@pytest.mark.parametrize("code", [OPERATORS, LAYERS], ids=["operators", "layers"])
def test_artifact_is_the_same_with_shortcuts_and_without(code, converted):
    # Linear layers give constants another order.
    assert converted(code, Shortcut.DECOMPOSITION, Shortcut.OPERATORS) == converted(code)


#: Networks with linear layers, one of them behind a mean, whose shape follows from what takes it.
WITH_LINEAR_LAYERS = {
    "attention": CASES["MultiheadAttention self"],
    "mean": case(
        "linear",
        "self.last(F.relu(self.first(F.adaptive_avg_pool2d(x, 1).flatten(1)))).softmax(1)",
        (1, 4, 6, 8),
        init="self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3, bias=False)",
    ),
    # Of weights that are not copied, and of some that something else uses, too.
    "large": case(
        "linear",
        "self.last(F.relu(self.first(x)))",
        (3, 600),
        init="self.first, self.last = nn.Linear(600, 500), nn.Linear(500, 600, bias=False)",
    ),
    "normed": case(
        "linear",
        "self.last(F.relu(self.norm(self.first(x)))) * 2",
        (3, 600),
        init=(
            "self.first, self.norm, self.last = nn.Linear(600, 500), nn.BatchNorm1d(500), nn.Linear(500, 4)\n"
            "nn.init.uniform_(self.norm.weight), nn.init.uniform_(self.norm.running_var)"
        ),
    ),
    # What the converter folds into the weights of what follows, and a residual connection, which it does not.
    "changed_before": case(
        "linear",
        "x + self.last(self.norm(x + F.relu(self.first(x * 2 + 1))))",
        (3, 600),
        init="self.first, self.last, self.norm = nn.Linear(600, 600), nn.Linear(600, 600), nn.LayerNorm(600)",
    ),
    "normed_before": case(
        "linear",
        "self.last(self.norm(F.relu(self.first(x))))",
        (3, 600),
        init=(
            "self.first, self.last, self.norm = nn.Linear(600, 600), nn.Linear(600, 600), nn.BatchNorm1d(600)"
            "\n"
            "nn.init.uniform_(self.norm.weight), nn.init.uniform_(self.norm.running_var)"
        ),
    ),
    # With more operators in a row than two thirds of the calls in calls that the test lets Python make.
    "deep": case(
        "linear",
        "self.last(self.first(x))",
        (3, 600),
        init="self.first, self.last = nn.Sequential(*[nn.Tanh()] * 250), nn.Linear(600, 600)",
    ),
    "infinite": case(
        "linear",
        "self.last(self.first(x)).clamp(-1, 1)",
        (3, 600),
        init=(
            "self.first, self.last = nn.Linear(600, 600), nn.Linear(600, 600)\n"
            "self.first.weight.data[0, 0] = float('inf')\n"
            "nn.init.zeros_(self.last.weight)"
        ),
    ),
    "tied": case(
        "linear",
        "self.last(self.first(x)) + self.table(torch.arange(3)) @ self.table.weight",
        (3, 600),
        init=(
            "self.table, self.first = nn.Embedding(600, 600), nn.Linear(600, 600)\n"
            "self.last = nn.Linear(600, 600, bias=False)\n"
            "self.first.weight = self.table.weight"
        ),
    ),
}


@pytest.fixture(scope="module")
def in_lowering_process() -> Iterator[Callable[..., Any]]:
    """Return a function that calls another in a process of this module: one that used jax must not fork.

    It has no threads, unlike a pool: this process goes on to fork.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(ours, theirs), daemon=True)
    process.start()
    theirs.close()

    def call(function: Callable[..., Any], *arguments: Any) -> Any:
        ours.send((function, arguments))
        if isinstance(answer := ours.recv(), Exception):
            raise answer
        return answer

    yield call
    ours.close()
    process.join(HANG_S)
    assert process.exitcode == 0


def serve(parents: Connection, calls: Connection) -> None:
    """Answer calls until the parent closes its end."""
    parents.close()
    with suppress(EOFError):
        while True:
            function, arguments = calls.recv()
            try:
                answer = function(*arguments)
            except Exception as error:  # noqa: BLE001 -- the parent raises it
                answer = error
            calls.send(answer)


def outputs_and_operators(
    name: str, folder: Path, limit: int, *shortcuts: Shortcut
) -> tuple[list[bytes], list[Any]]:
    """Return the outputs of layers on some rows, and each operator with its options and constants.

    Args:
        limit: of calls in calls in Python.
    """
    sys.setrecursionlimit(limit)
    content = lowered(WITH_LINEAR_LAYERS[name], folder, *shortcuts)
    assert content is not None
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    for each in interpreter.get_input_details():
        rows = np.random.default_rng(0).random(each["shape"], dtype=np.float32)
        interpreter.set_tensor(each["index"], rows)
    interpreter.invoke()
    outputs = [interpreter.get_tensor(each["index"]).tobytes() for each in interpreter.get_output_details()]
    return outputs, described(content)


def described(content: bytes) -> list[Any]:
    """Return each operator with its options and inputs: constants by content, others by what made them."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (graph,) = model.subgraphs
    values: dict[int, Any] = {number: "input" for number in graph.inputs}
    for number, tensor in enumerate(graph.tensors):
        data = model.buffers[tensor.buffer].data
        if data is not None:
            values[number] = (str(tensor.shape), tensor.type, bytes(data))
    operators = []
    for number, operator in enumerate(graph.operators):
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        inputs = [values.get(each) for each in operator.inputs]
        operators.append(
            (code, inputs, str(vars(operator.builtinOptions)) if operator.builtinOptions else "")
        )
        values.update({each: (number, place) for place, each in enumerate(operator.outputs)})
    return operators


@pytest.mark.parametrize("name", WITH_LINEAR_LAYERS)
def test_linear_layers_have_the_same_operators_and_outputs_when_lowered_directly(
    name, in_lowering_process, tmp_path
):
    # A network that reaches Python's own limit takes twice as long.
    limit = 350 if name == "deep" else sys.getrecursionlimit()
    direct, written, plain = (
        in_lowering_process(outputs_and_operators, name, tmp_path, limit, *shortcuts)
        for shortcuts in ([Shortcut.LINEAR_LAYERS], [Shortcut.LINEAR_LAYERS, Shortcut.WEIGHTS], [])
    )

    assert direct == plain
    assert written == plain


def large_weights(folder: Path, lost: bool) -> tuple[list[int], bytes]:
    """Return the number of placeholders that were lowered in each lowering, and the file.

    Args:
        lost: the converter seems to do something else with them than to write them.
    """
    placeholders: list[int] = []
    replaced = LargeWeights.replace_constants

    def replace_constants(self: LargeWeights, module: Any) -> None:
        placeholders.append(len(self._lowered))
        if lost:
            raise PlaceholderLostError
        replaced(self, module)

    with mock.patch.object(LargeWeights, "replace_constants", replace_constants):
        content = lowered(WITH_LINEAR_LAYERS["large"], folder, Shortcut.LINEAR_LAYERS, Shortcut.WEIGHTS)
    assert content is not None
    return placeholders, content


def test_the_converter_does_not_see_large_weights(in_lowering_process, tmp_path):
    placeholders, content = in_lowering_process(large_weights, tmp_path, False)

    assert placeholders == [2]
    assert content.count(b"nnlite_weight_") == 2


def test_network_is_lowered_again_when_the_converter_loses_a_placeholder(in_lowering_process, tmp_path):
    placeholders, content = in_lowering_process(large_weights, tmp_path, True)
    plain = in_lowering_process(lowered, WITH_LINEAR_LAYERS["large"], tmp_path, Shortcut.LINEAR_LAYERS)

    assert placeholders == [2]
    assert content == plain


def files_of_suite(folder: Path) -> dict[str, tuple[bytes | None, bytes | None]]:
    """Return the files of the cases, operators lowered directly and by jax; None: it cannot be lowered."""
    return {
        name: (lowered(CASES[name], folder, Shortcut.OPERATORS), lowered(CASES[name], folder))
        for name in SUITE
    }


def lowered(case: Case, folder: Path, *shortcuts: Shortcut) -> bytes | None:
    warnings.simplefilter("ignore")
    fast_lowering.use(shortcuts)
    namespace = {"__name__": "net"}
    exec(compile(case.code, "net.py", "exec"), namespace)
    torch.manual_seed(0)
    samples = tuple(
        torch.ones(each.shape, dtype=getattr(torch, each.dtype or "float32")) for each in case.inputs
    )
    module = lowering.ChannelsLast(namespace["Net"]().eval(), (False,) * len(samples)).eval()
    path = folder / "net.tflite"
    try:
        with torch.no_grad():
            program = lowering.export(module, samples)
            apply_rewrites(program)
            lowering.lower(program, module, samples, path)
    except Exception:  # noqa: BLE001  (libraries raise what they like)
        return None
    return path.read_bytes()


def test_cases_of_the_operator_suite_are_the_same_lowered_directly_and_by_jax(in_lowering_process, tmp_path):
    files = in_lowering_process(files_of_suite, tmp_path)

    assert [name for name, (direct, by_jax) in files.items() if direct != by_jax] == []
    assert sum(direct is not None for direct, _ in files.values()) > len(SUITE) // 2
