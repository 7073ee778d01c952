"""The load stage: builds a network from other people's code or file, and runs it once on the seeded input.

An error becomes a `Failure` whose reason names the cause and the remedy. Runs in the forked child only, in
its private folder.
"""

import copy
import hashlib
import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nnlite.artifacts.inputs import seeded_inputs
from nnlite.catalog.lemur.tasks import token_inputs
from nnlite.catalog.model import SEEDED_WEIGHTS, ModelInput
from nnlite.settings import PREFIX
from nnlite.vocabulary import Layout, ModelFormat, Stage
from nnlite_conversion import explanations
from nnlite_conversion.culprit import line_of_return
from nnlite_conversion.explanations import explained, refused
from nnlite_conversion.messages import model_file_name
from nnlite_conversion.outcome import ConversionJob
from nnlite_conversion.pipeline import accelerator
from nnlite_conversion.pipeline.loading import exported_program as exported
from nnlite_conversion.pipeline.loading import networks
from nnlite_conversion.pipeline.loading.adapters import adapted
from nnlite_conversion.pipeline.lowering import lower as lowering
from nnlite_conversion.pipeline.verifying.integers import IntegerRanges, integer_ranges
from nnlite_conversion.remedies import Explanation

#: A thread that hashes a tensor waits for the interpreter for so long before the next one, seconds.
_SWITCH_S = 0.0005
#: Seed of the weights of a model without a weights file.
WEIGHTS_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A network that can be exported, with its outputs for the seeded inputs."""

    #: Takes inputs in the layout of the artifact.
    module: torch.nn.Module
    #: Shape of the first input as the network takes it; images: (N, C, H, W).
    input_shape: tuple[int, ...]
    #: The seeded inputs, in the layout of the artifact; images: (N, H, W, C).
    samples: tuple[NDArray[Any], ...]
    #: The network's outputs for them.
    expected: tuple[NDArray[Any], ...]
    #: The weights, and what each is, in the order of the state dict.
    weights: list[tuple[bytes, memoryview]]
    #: Buffers that each run changes, by name, as the exported network has them: an artifact keeps no state.
    changing: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @cached_property
    def integer_ranges(self) -> IntegerRanges:
        """The values that its integer inputs accept.

        Raises:
            Needs64Bits: 32 bits do not hold what it computes.
        """
        try:
            module = copy.deepcopy(self.module)  # a network may keep something of what it has seen
        except Exception:  # noqa: BLE001  (it may hold anything)
            module = self.module
        return integer_ranges(module, self.samples)

    @cached_property
    def state_dict_sha256(self) -> str:
        """SHA-256 of the weights; to be read before they are released, or a run could change them."""
        digest = _sha256(self.weights)
        self.weights.clear()  # else they would hold the memory that `release` frees
        return digest

    @contextmanager
    def hashed_meanwhile(self) -> Iterator[None]:
        """Have another thread hash the weights while the block runs, which must not change them."""
        interval_s = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_S)
        try:
            with ThreadPoolExecutor(1) as pool:
                hashing = pool.submit(getattr, self, "state_dict_sha256")
                yield
                hashing.result()
        finally:
            sys.setswitchinterval(interval_s)

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """The samples as PyTorch tensors."""
        return tuple(map(torch.from_numpy, self.samples))

    def release(self) -> None:
        """Free the network's weights, after which it cannot be run, converted or exported any more."""
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            with suppress(Exception):  # a kind of tensor that cannot be emptied stays
                tensor.data = torch.empty(0, dtype=tensor.dtype)


class ModelSkipped(Exception):
    """The model exceeds a configured limit and is skipped (not a failure)."""

    def __init__(self, reason: str, parameters: int, input_shape: tuple[int, ...]) -> None:
        super().__init__(reason)
        self.reason, self.parameters, self.input_shape = reason, parameters, input_shape


def load(job: ConversionJob, folder: Path) -> tuple[Loaded, int]:
    """Build the network of a model, with seeded weights where it has no weights file, and run it once.

    Returns:
        The network, and how many parameters it has.

    Raises:
        ModelSkipped: it has more parameters than the job allows.
        Failure: it cannot be imported, built or run.
    """
    network, inputs = _network(job, folder)
    _require_dense(network)
    images = tuple(job.model.layout is Layout.NHWC and each.is_image for each in inputs)
    tensors = [
        (_channels_last(each.shape) if image else each.shape, each.dtype)
        for each, image in zip(inputs, images, strict=True)
    ]
    samples = tuple(seeded_inputs(tensors, job.seed))
    names = tuple(each.name for each in inputs if each.name)
    module = lowering.ChannelsLast(network, images, names)
    lazy = any(isinstance(p, torch.nn.parameter.UninitializedParameter) for p in network.parameters())
    expected = forward(module, samples) if lazy else ()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if parameters > job.max_parameters:
        reason = f"{parameters:,} parameters, above the limit of {job.max_parameters:,}"
        raise ModelSkipped(f"{reason} ({PREFIX}CATALOG__MAX_PARAMETERS)", parameters, inputs[0].shape)
    changing: dict[str, torch.Tensor] = {}
    if not expected:
        before = _versions(module)
        expected = forward(module, samples)
        if _versions(module) != before:
            expected, changing = _run_again(module, samples)
    loaded = Loaded(
        module=module,
        input_shape=inputs[0].shape,
        samples=samples,
        expected=expected,
        weights=list(_weights(network)),
        changing=changing,
    )
    return loaded, parameters


def _require_dense(network: torch.nn.Module) -> None:
    """Raise for parameters and buffers that have no strides."""
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.layout is not torch.strided:
            kind = str(tensor.layout).removeprefix("torch.").removeprefix("_").replace("_", " ")
            raise refused(
                f"its tensor {name} has the layout {kind}, which LiteRT does not have; keep it dense: "
                f"{name}.to_dense()"
            )


def restore(module: torch.nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """Copy values into buffers, by name."""
    buffers = dict(module.named_buffers())
    with torch.no_grad():
        for name, value in values.items():
            buffers[name].copy_(value)


def _versions(module: torch.nn.Module) -> dict[str, tuple[int, int]]:
    """Return what tells that a buffer was replaced or changed in place."""
    return {
        name: (id(buffer), 0 if buffer.is_inference() else buffer._version)
        for name, buffer in module.named_buffers()
    }


def _run_again(
    module: torch.nn.Module, samples: tuple[NDArray[Any], ...]
) -> tuple[tuple[NDArray[Any], ...], dict[str, torch.Tensor]]:
    """Run a network that has changed its buffers once more: the first time may have initialized them.

    Returns:
        Its outputs, and the buffers that it changes every time as they were before; they are so again.
    """
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    expected = forward(module, samples)
    buffers = dict(module.named_buffers())
    changing = {
        name: value
        for name, value in before.items()
        if name in buffers and buffers[name].shape == value.shape and not torch.equal(buffers[name], value)
    }
    restore(module, changing)
    return expected, changing


def seed_everything(seed: int) -> None:
    """Seed every random number generator that a network may use for its weights."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def forward(module: torch.nn.Module, samples: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
    """Return the network's outputs for `samples`."""

    def run(placed: torch.nn.Module, device: torch.device) -> tuple[NDArray[Any], ...]:
        seed_everything(WEIGHTS_SEED)
        outputs = lowering.tensors_of(placed(*(torch.from_numpy(sample).to(device) for sample in samples)))
        return tuple(output.detach().cpu().numpy().copy() for output in outputs)

    try:
        with torch.no_grad():
            return accelerator.run(module, run)
    except lowering.NotTensors as error:
        with torch.no_grad():
            error.code_line = line_of_return(lambda: module(*map(torch.from_numpy, samples)))
        explanation = Explanation(cause=str(error), remedy=error.remedy)
        raise explained(Stage.LOAD, error, explanation) from error
    except (Exception, SystemExit) as error:
        raise explained(Stage.LOAD, error, explanations.of_forward(error, samples)) from error


def state_dict_sha256(network: torch.nn.Module) -> str:
    """Return the SHA-256 of the weights' names, dtypes, shapes and bytes, in the order of the state dict."""
    return _sha256(_weights(network))


def _weights(network: torch.nn.Module) -> Iterator[tuple[bytes, memoryview]]:
    for name, tensor in network.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            described = f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode()
            yield described, tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _sha256(weights: Iterable[tuple[bytes, memoryview]]) -> str:
    digest = hashlib.sha256()
    for described, values in weights:
        digest.update(described)
        digest.update(values)
    return digest.hexdigest()


def _network(job: ConversionJob, folder: Path) -> tuple[torch.nn.Module, tuple[ModelInput, ...]]:
    """Return the network in eval mode, and its inputs."""
    spec = job.model
    file = folder / model_file_name(spec)
    if spec.model_format is ModelFormat.EXPORTED:
        return exported.load(file, spec.inputs, folder)
    if spec.weights != SEEDED_WEIGHTS and spec.weights_suffix is None:
        raise refused(f"weights {spec.weights!r} need a file; without one only {SEEDED_WEIGHTS} is known")
    inputs = spec.inputs or (_image(job), *token_inputs(spec.task))
    seed_everything(WEIGHTS_SEED)
    code = networks.import_code(spec, folder)
    seed_everything(WEIGHTS_SEED)
    network = networks.build(code, spec, inputs[0].shape)
    if spec.weights_suffix is not None:
        networks.load_weights(network, file)
    return adapted(network.eval(), spec, inputs[0]), inputs


def _image(job: ConversionJob) -> ModelInput:
    """Return the image that a model of a dataset takes: of the known shape, or of the transform's output."""
    spec = job.model
    if spec.input_shape is not None:
        return ModelInput(shape=spec.input_shape, dtype=spec.input_dtype)
    if spec.transform_code is None or spec.transform is None:
        raise refused(f"no input shape is known, and no transform on {spec.dataset} gives one")
    from nnlite_conversion.pipeline.loading.transforms import input_shape

    shape = input_shape(spec.transform_code, spec.transform, spec.dataset, variable_size=job.variable_size)
    return ModelInput(shape=shape.batch_of_one, dtype=shape.dtype)


def _channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    batch, channels, height, width = shape
    return batch, height, width, channels
