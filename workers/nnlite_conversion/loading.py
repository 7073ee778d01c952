"""The first stage of a conversion: other people's code becomes a network that has answered once.

What goes wrong is a `Failure` that names the thing and the way out. Runs in the
forked child only, in its scratch folder.
"""

import hashlib
import importlib.util
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nnlite.catalog.model import SEEDED_WEIGHTS, ModelSpec
from nnlite.failures import Failure, FailureClass
from nnlite.inputs import seeded_input
from nnlite.settings import PREFIX
from nnlite.vocabulary import Stage
from nnlite_conversion import accelerator, explanations, lowering
from nnlite_conversion.explanations import explained
from nnlite_conversion.outcome import ConversionJob

#: Seed of the weights of a model that ships none.
WEIGHTS_SEED = 0

#: Name that the model's file is imported under.
MODEL_MODULE = "nnlite_model"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A network ready to be exported, and what it answers to the seeded input."""

    module: torch.nn.Module
    #: (N, C, H, W), as the constructor was told.
    input_shape: tuple[int, int, int, int]
    #: In the layout of the artifact: N, H, W, C.
    image: NDArray[Any]
    expected: tuple[NDArray[Any], ...]
    state_dict_sha256: str


class LeftOut(Exception):
    """The model is not to be converted, and that is no fault of it."""

    def __init__(self, reason: str, parameters: int, input_shape: tuple[int, int, int, int]) -> None:
        super().__init__(reason)
        self.reason, self.parameters, self.input_shape = reason, parameters, input_shape


def load(job: ConversionJob, folder: Path) -> tuple[Loaded, int]:
    """Import the model's code, build the network with seeded weights and run it once.

    Returns:
        The network, and how many parameters it has.

    Raises:
        LeftOut: it has more parameters than the job allows.
        Failure: it cannot be imported, built or run.
    """
    spec = job.model
    if spec.weights != SEEDED_WEIGHTS:
        raise _model(
            Stage.LOAD, f"weights {spec.weights!r} cannot be loaded yet; supported: {SEEDED_WEIGHTS}"
        )
    shape, dtype = _input_of(job)
    seed_everything(WEIGHTS_SEED)
    code = import_model(spec, folder)
    seed_everything(WEIGHTS_SEED)
    network = build(code, spec, shape)
    image = seeded_input((shape[0], shape[2], shape[3], shape[1]), dtype, job.seed)
    module = lowering.ChannelsLast(network).eval()
    lazy = any(isinstance(p, torch.nn.parameter.UninitializedParameter) for p in network.parameters())
    expected = forward(module, image) if lazy else ()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if parameters > job.max_parameters:
        reason = f"{parameters:,} parameters, above the limit of {job.max_parameters:,}"
        raise LeftOut(f"{reason} ({PREFIX}CATALOG__MAX_PARAMETERS)", parameters, shape)
    expected = expected or forward(module, image)
    loaded = Loaded(
        module=module,
        input_shape=shape,
        image=image,
        expected=expected,
        state_dict_sha256=state_dict_sha256(network),
    )
    return loaded, parameters


def seed_everything(seed: int) -> None:
    """Seed every generator that a network may draw its weights from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def import_model(spec: ModelSpec, folder: Path) -> ModuleType:
    """Import the model's code from a file in `folder`, so that tracebacks show its lines."""
    path = folder / f"{MODEL_MODULE}.py"
    path.write_text(spec.code, encoding="utf-8", errors="surrogatepass")
    found = importlib.util.spec_from_file_location(MODEL_MODULE, path)
    if found is None or found.loader is None:
        raise ImportError(f"no loader for {path}")
    module = importlib.util.module_from_spec(found)
    sys.modules[MODEL_MODULE] = module
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise explained(Stage.LOAD, error, explanations.of_import(error)) from error
    if not isinstance(getattr(module, "Net", None), type):
        raise _model(Stage.LOAD, "its code defines no class Net, which is what a LEMUR model is built from")
    return module


def build(code: ModuleType, spec: ModelSpec, shape: tuple[int, int, int, int]) -> torch.nn.Module:
    """Construct the network with LEMUR's four arguments."""
    hyperparameters = dict(spec.hyperparameters)
    try:
        network = code.Net(shape, (spec.classes,), hyperparameters, torch.device("cpu"))
    except (Exception, SystemExit) as error:
        reason = explanations.of_construction(error, spec, shape)
        raise explained(Stage.LOAD, error, reason) from error
    if not isinstance(network, torch.nn.Module):
        raise _model(Stage.LOAD, f"its class Net makes a {type(network).__name__}, not a torch.nn.Module")
    return network


def forward(module: torch.nn.Module, image: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Return what the network answers to `image`."""

    def answer(placed: torch.nn.Module, device: torch.device) -> tuple[NDArray[Any], ...]:
        seed_everything(WEIGHTS_SEED)
        outputs = lowering.tensors_of(placed(torch.from_numpy(image).to(device)))
        return tuple(output.detach().cpu().numpy().copy() for output in outputs)

    try:
        with torch.no_grad():
            return accelerator.run(module, answer)
    except lowering.NotTensors as error:
        raise _model(Stage.LOAD, str(error)) from error
    except (Exception, SystemExit) as error:
        reason = f"forward fails on an input of shape {image.shape} (N, H, W, C)"
        raise explained(Stage.LOAD, error, reason) from error


def state_dict_sha256(network: torch.nn.Module) -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes of the weights, in their order."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _input_of(job: ConversionJob) -> tuple[tuple[int, int, int, int], str]:
    """Return (N, C, H, W) and the dtype of the input; the transform's own where the catalogue has none."""
    spec = job.model
    if spec.input_shape is not None:
        return spec.input_shape, spec.input_dtype
    if spec.transform_code is None or spec.transform is None:
        raise _model(Stage.LOAD, f"no input shape is known, and no transform on {spec.dataset} gives one")
    from nnlite_conversion import shapes

    found = shapes.input_shape(
        spec.transform_code, spec.transform, spec.dataset, variable_size=job.variable_size
    )
    return found.batch_of_one, found.dtype


def _model(stage: Stage, reason: str) -> Failure:
    return Failure(FailureClass.MODEL, stage, reason)
