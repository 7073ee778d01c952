"""Loading models from files: inputs, weights, programs, and hostile files that try to execute code.

More than 300 lines: what loads and what is refused, by one loader and the same files.
"""

import io
import json
import os
import pickle
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nnlite.catalog.model import SEEDED_WEIGHTS, ModelInput, ModelSpec
from nnlite.catalog.untrusted.checks import check
from nnlite.errors import Failure, FailureClass
from nnlite.vocabulary import Layout, ModelFormat, Precision
from nnlite_conversion.outcome import ConversionJob
from nnlite_conversion.pipeline.loading import load as loading
from nnlite_conversion.pipeline.lowering import lower as lowering
from unit.conversion.networks import IMAGE, NAMES, TWO, exported, two


@pytest.fixture
def load(tmp_path):
    """Load a model of format `python`, or a file, as a conversion child does."""

    def run(file: Path | None = None, **fields) -> loading.Loaded:
        folder = tmp_path / "scratch"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if file is not None:
            shutil.copy(file, folder / f"model{file.suffix}")
        return loading.load(job(file, **fields), folder)[0]

    return run


def job(file: Path | None, **fields) -> ConversionJob:
    absent = {name: None for name in ("code", "transform_code", "transform", "input_shape")}
    weights = {} if file is None else {"weights": "of the file", "weights_suffix": file.suffix}
    empty = {"name": "mine", "task": "", "dataset": "", "hyperparameters": {}, "input_dtype": "float32"}
    rest = {"classes": 0, "weights": SEEDED_WEIGHTS, "model_format": ModelFormat.PYTHON}
    spec = ModelSpec(**absent | empty | rest | weights | fields)
    return ConversionJob(model=spec, model_file=file, precisions=(Precision.FP32,), max_parameters=10_000)


def program(file: Path) -> dict:
    return {"file": file, "model_format": ModelFormat.EXPORTED}


def from_code(**fields) -> dict:
    return {"code": TWO, "entry_point": "Two", "inputs": (IMAGE, NAMES), **fields}


def refused(load, **fields) -> str:
    with pytest.raises(Failure) as failure:
        load(**fields)
    assert failure.value.failure_class is FailureClass.MODEL
    assert "\n" not in failure.value.reason
    return failure.value.reason


def test_class_gets_its_arguments_and_several_inputs(load):
    loaded = load(**from_code(hyperparameters={"width": 4}))
    assert [(sample.shape, sample.dtype.name) for sample in loaded.samples] == [
        ((1, 8, 8, 3), "float32"),
        ((1, 5), "int64"),
    ]
    assert [tensor.shape for tensor in loaded.expected] == [(1, 4), (1, 4)]
    assert loaded.input_shape == (1, 3, 8, 8)
    assert load(**from_code(layout=Layout.AS_IS)).samples[0].shape == (1, 3, 8, 8)
    reason = refused(load, **from_code(hyperparameters={"depth": 4}))
    assert reason.startswith("Two cannot be called with the arguments {'depth': 4}: TypeError")
    assert "defines no class and no factory Three" in refused(load, **from_code(entry_point="Three"))


def test_a_complex_output_is_refused_with_the_line_that_returns_it(load):
    code = """
import torch
class Net(torch.nn.Module):
    def forward(self, x):
        y = torch.fft.rfft(x)
        return {"spectrum": y}
"""
    reason = refused(load, code=code, entry_point="Net", inputs=(ModelInput(shape=(2, 8)),))

    assert reason.startswith("forward returns a complex tensor, which LiteRT does not have, at ")
    assert 'return {"spectrum": y}; return torch.view_as_real of it' in reason


def test_inputs_of_equal_shape_get_different_values(load):
    code = "import torch\nclass Less(torch.nn.Module):\n    def forward(self, x, y):\n        return x - y\n"
    same = (ModelInput(shape=(1, 4)), ModelInput(shape=(1, 4)))
    assert load(code=code, entry_point="Less", inputs=same).expected[0].any()


def test_inputs_are_given_by_keyword_and_without_a_batch(load):
    code = (
        "import torch\nclass Masked(torch.nn.Module):\n"
        "    def forward(self, x, scale=None, *, mask):\n"
        "        assert scale is None and x.shape == (6, 4) and mask.shape == (1, 2, 3, 4)\n"
        "        return x * 2, mask.sum(1)\n"
    )
    inputs = (
        ModelInput(shape=(6, 4), axes="TF"),
        ModelInput(shape=(1, 2, 3, 4), name="mask", axes="NHTD"),
    )

    loaded = load(code=code, entry_point="Masked", inputs=inputs)

    assert [sample.shape for sample in loaded.samples] == [(6, 4), (1, 2, 3, 4)], "not taken for an image"
    np.testing.assert_array_equal(loaded.expected[0], loaded.samples[0] * 2)
    program = lowering.export(loaded.module, loaded.tensors)
    outputs = program.module()(*loaded.tensors)
    np.testing.assert_allclose(outputs[1], loaded.expected[1], rtol=1e-6)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_file_is_loaded_into_the_network(load, tmp_path, suffix):
    network, file = two().eval(), tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save({"epoch": 3, "state_dict": network.state_dict()}, file)
    else:
        save_file(network.state_dict(), file)
    loaded = load(**from_code(file=file))
    same = load(**program(exported(tmp_path / "same.pt2", network)))

    assert loaded.state_dict_sha256 == loading.state_dict_sha256(network)
    for one, other in zip(loaded.expected, same.expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("wrappers", ["module.", "_orig_mod.", "module._orig_mod.", "model.", "a.net."])
def test_weights_of_a_wrapped_network_are_loaded_under_its_own_names(load, tmp_path, wrappers):
    weights = {f"{wrappers}{name}": tensor + 1 for name, tensor in two().state_dict().items()}
    torch.save(weights, tmp_path / "w.pt")

    loaded = load(tmp_path / "w.pt", **from_code())

    for name, tensor in loaded.module.network.state_dict().items():
        assert torch.equal(tensor, weights[f"{wrappers}{name}"])


def test_weights_in_the_format_before_pytorch_1_6_are_loaded(load, tmp_path):
    file, network = tmp_path / "w.pt", two()
    torch.save(network.state_dict(), file, _use_new_zipfile_serialization=False)
    check(file, max_mb=1)

    assert load(file, **from_code()).state_dict_sha256 == loading.state_dict_sha256(network)


def test_weights_of_layers_that_are_compiled_or_wrapped_since_are_loaded(load, tmp_path):
    code = TWO + (
        "class Whole(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.net = torch.nn.ModuleDict({'_orig_mod': torch.nn.BatchNorm2d(3)})\n"
        "    def forward(self, x):\n        return self.net['_orig_mod'](x)\n"
    )
    old = {name: torch.full((3,), 0.5) for name in ("weight", "bias", "running_mean", "running_var")}
    torch.save(old, tmp_path / "w.pt")

    loaded = load(tmp_path / "w.pt", **from_code(code=code, entry_point="Whole", inputs=(IMAGE,)))

    assert all((buffer == 0.5).all() for buffer in loaded.module.parameters())


@pytest.mark.parametrize(
    ("names", "remedy"),
    [
        ({"names.weight": "model.names.weight"}, "its names begin with model.: save the state dict"),
        ({None: "loss"}, "leave out what the network has not: {name: weights[name] for name in"),
    ],
)
def test_the_way_to_a_state_dict_that_fits_is_told(load, tmp_path, names, remedy):
    state = two().state_dict()
    for own, other in names.items():
        state[other] = state.pop(own, torch.zeros(1))
    torch.save(state, tmp_path / "w.pt")

    assert remedy in refused(load, **from_code(file=tmp_path / "w.pt"))


def test_sparse_weights_are_refused_by_name(load):
    code = "import torch\nclass Sparse(torch.nn.Linear):\n"
    code += "    def __init__(self):\n        super().__init__(2, 2)\n"
    code += "        self.register_buffer('eye', torch.eye(2).to_sparse())\n"

    reason = refused(load, code=code, entry_point="Sparse", inputs=(ModelInput(shape=(1, 2)),))

    assert reason.startswith("its tensor eye has the layout sparse coo") and "eye.to_dense()" in reason


def test_weights_that_do_not_match_are_named(load, tmp_path):
    state = two().state_dict()
    state["head.weight"] = state.pop("names.weight")
    save_file(state, tmp_path / "other.safetensors")
    reason = refused(load, **from_code(file=tmp_path / "other.safetensors"))
    assert "missing: names.weight; unexpected: head.weight; save network.state_dict() of" in reason

    torch.save(two(5).state_dict(), tmp_path / "narrow.pt")
    assert "size mismatch for convolution.weight" in refused(load, **from_code(file=tmp_path / "narrow.pt"))
    torch.save([1, 2], tmp_path / "list.pt")
    assert "contains no state dict" in refused(load, **from_code(file=tmp_path / "list.pt"))


def test_program_with_dynamic_batch_gets_a_batch_of_one(load, tmp_path):
    loaded = load(**program(with_open_batch(tmp_path)))
    assert [sample.shape for sample in loaded.samples] == [(1, 8, 8, 3), (1, 5)]


def test_program_that_cannot_be_converted_is_refused_with_a_reason(load, tmp_path):
    training = exported(tmp_path / "training.pt2", two().train(), 2)
    reason = refused(load, **program(training))
    assert "it is in training mode (aten.batch_norm.default)" in reason and "eval()" in reason
    eight = exported(tmp_path / "eight.pt2", two().eval(), 8)
    assert "it was exported for a batch of 8" in refused(load, **program(eight))
    one = exported(tmp_path / "one.pt2", two().eval())
    by_name = (IMAGE, replace(NAMES, name="ids"))
    assert "give --input without names" in refused(load, **program(one), inputs=by_name)
    reason = refused(load, **program(one), inputs=(ModelInput(shape=(1, 3, 9, 9)), NAMES))
    assert reason == "input 0 was exported as 1x3x8x8:float32, which 1x3x9x9:float32 does not fit"
    assert "it takes 2 inputs, but 1 are named" in refused(load, **program(one), inputs=(IMAGE,))
    (tmp_path / "no.pt2").write_bytes(b"PK")
    assert "cannot be read as a program of torch.export.save" in refused(load, **program(tmp_path / "no.pt2"))


def with_open_batch(folder: Path) -> Path:
    open_batch = {0: torch.export.Dim("batch")}
    return exported(folder / "open.pt2", two().eval(), 2, dynamic_shapes=(open_batch, open_batch))


def test_a_program_of_dynamic_sizes_is_refused_with_an_example(load, tmp_path):
    sizes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height", min=4)}
    network, images = torch.nn.Conv2d(3, 4, 1).eval(), torch.rand(2, 3, 8, 8)
    file = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(network, (images,), dynamic_shapes=(sizes,)), file)

    assert refused(load, **program(file)) == (
        "input 0 is ?x3x?x8:float32, and the sizes of an artifact are fixed; "
        "give a number for each ?, such as --input 1x3x224x8:float32"
    )


class Payload:
    """Creates a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark():
    """Return a path that any account can create; fails if it was created."""
    path = Path("/tmp") / f"nnlite-hostile-{os.getpid()}"
    yield path
    created = path.exists()
    if created:
        path.rmdir()
    assert not created, "the file was executed"


def changed(program: Path, **records: bytes | None) -> Path:
    """Replace records of an archive, by the ends of their names; add those that it does not have."""
    target = program.with_name(f"hostile-{program.name}")
    with zipfile.ZipFile(program) as source, zipfile.ZipFile(target, "w") as altered:
        left = dict(records)
        folder = source.namelist()[0].partition("/")[0]
        for entry in source.infolist():
            name = next((name for name in left if entry.filename.endswith(name)), None)
            altered.writestr(entry.filename, source.read(entry) if name is None else left.pop(name))
        for name, content in left.items():
            altered.writestr(f"{folder}/{name}", content)
    return target


def record(program: Path, name: str) -> str:
    with zipfile.ZipFile(program) as archive:
        return archive.read(f"{program.stem}/{name}").decode()


def pickled(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_sample_inputs_that_execute_something_are_never_read(load, tmp_path, mark):
    plain = exported(tmp_path / "net.pt2", two().eval())
    hostile = changed(plain, **{"data/sample_inputs/model.pt": pickled(Payload(mark))})
    assert load(**program(hostile)).expected


def test_weights_that_execute_something_are_refused(load, tmp_path, mark):
    plain = exported(tmp_path / "net.pt2", two().eval())
    config = record(plain, "data/weights/model_weights_config.json")
    hostile = changed(
        plain,
        **{
            "model_weights_config.json": config.replace(
                '"use_pickle": false', '"use_pickle": true', 1
            ).encode(),
            "data/weights/weight_0": pickled({"w": Payload(mark)}),
        },
    )
    assert "cannot be read as a program of torch.export.save" in refused(load, **program(hostile))

    torch.save({"weight": Payload(mark)}, tmp_path / "weights.pt")
    reason = refused(load, **from_code(file=tmp_path / "weights.pt"))
    assert "contains an object of posix.mkdir, and only weights are ever unpickled; save them by" in reason
    (tmp_path / "weights.pt").write_bytes(b"no pickle")
    reason = refused(load, **from_code(file=tmp_path / "weights.pt"))
    assert reason.startswith("its weights file cannot be read as a state dict of torch.save; save them by")


def test_constants_that_execute_something_are_refused(load, tmp_path, mark):
    payload = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    config = json.dumps({"config": {"x": payload}}).encode()
    hostile = changed(
        exported(tmp_path / "net.pt2", two().eval()),
        **{
            "model_constants_config.json": config,
            "data/constants/opaque_obj_0": pickle.dumps(Payload(mark)),
        },
    )
    assert "cannot be read as a program" in refused(load, **program(hostile))


def test_a_program_whose_text_executes_something_is_refused(load, tmp_path, mark):
    plain = with_open_batch(tmp_path)
    text = record(plain, "models/model.json")
    payload = f"__import__('os').mkdir('{mark}')"
    for old, new, reason in (
        ("torch.ops.aten.conv2d.default", "torch.hub.load", "calls 'torch.hub.load', which is no operator"),
        ("Symbol('s", f"{payload} or Symbol('s", "which is more than arithmetic"),
    ):
        assert old in text
        hostile = changed(plain, **{"models/model.json": text.replace(old, new).encode()})
        assert reason in refused(load, **program(hostile))


def test_guards_of_a_program_are_not_executed(load, tmp_path, mark):
    plain = with_open_batch(tmp_path)
    text = record(plain, "models/model.json")
    assert '"guards_code": [' in text
    guarded = text.replace('"guards_code": [', f"\"guards_code\": [\"__import__('os').mkdir('{mark}')\", ")
    assert load(**program(changed(plain, **{"models/model.json": guarded.encode()}))).expected
