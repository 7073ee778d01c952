"""Builds a network from a model's code: imports it, calls its class or factory, loads its weights.

This executes other people's Python and reads other people's files: in the forked child only, and unpickling
only with `weights_only=True`.
"""

import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file

from nnlite.catalog.lemur.datasets import DATASETS
from nnlite.catalog.lemur.tasks import CAPTIONING
from nnlite.catalog.model import ModelSpec
from nnlite.vocabulary import ModelFormat, Stage
from nnlite_conversion import explanations
from nnlite_conversion.explanations import explained, refused
from nnlite_conversion.pipeline.loading import absent_modules
from nnlite_conversion.pipeline.loading.adapters import provide_vocabulary, without_downloads
from nnlite_conversion.remedies import Explanation

#: Module name that the model's code is imported as.
MODEL_MODULE = "nnlite_model"

#: What torch.load names that is no weight, such as the class of a network.
_PICKLED = re.compile(r"GLOBAL (\S+)")
#: Keys of the weights in a checkpoint that contains other things too.
_NESTED = ("state_dict", "model_state_dict", "model", "net", "network")
#: Put before every name by torch.nn.DataParallel and torch.compile.
_WRAPPERS = ("module.", "_orig_mod.")
#: Put into names by torch.compile of a layer.
_COMPILED = "_orig_mod."
#: Longest name of a model's file, without its suffix, characters.
_MAX_NAME = 100
#: Most names of weights that a reason lists.
_SHOWN = 5


def import_code(spec: ModelSpec, folder: Path) -> ModuleType:
    """Import the model's code from a file in `folder`, so that tracebacks show its lines and its own name.

    Raises:
        Failure: it cannot be imported, or does not define the class or factory.
    """
    if spec.model_format is ModelFormat.LEMUR and spec.task == CAPTIONING:
        provide_vocabulary(spec.classes)
    path = folder / code_file_name(spec.name)
    path.write_text(spec.code or "", encoding="utf-8", errors="surrogatepass")
    import_spec = importlib.util.spec_from_file_location(MODEL_MODULE, path)
    if import_spec is None or import_spec.loader is None:
        raise ImportError(f"no loader for {path}")
    module = importlib.util.module_from_spec(import_spec)
    sys.modules[MODEL_MODULE] = module
    absent_modules.enable(path, spec.code or "")
    try:
        import_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise explained(Stage.LOAD, error, explanations.of_import(error)) from error
    if spec.model_format is ModelFormat.LEMUR and not isinstance(getattr(module, "Net", None), type):
        raise refused("its code defines no class Net, which is what a LEMUR model is built from")
    if spec.model_format is ModelFormat.PYTHON and not callable(getattr(module, str(spec.entry_point), None)):
        raise refused(f"its code defines no class and no factory {spec.entry_point}")
    return module


def code_file_name(model: str) -> str:
    """Return the name of the file with a model's code: `net.py` for the model `nets/net.py:make_small`."""
    name = re.sub(r"[^\w.-]", "_", model.partition(":")[0].rpartition("/")[2].removesuffix(".py"))
    return f"{name[:_MAX_NAME] or MODEL_MODULE}.py"


def build(code: ModuleType, spec: ModelSpec, shape: tuple[int, ...]) -> torch.nn.Module:
    """Construct the network: with LEMUR's four arguments, or with the arguments that its source names."""
    arguments = dict(spec.hyperparameters)
    try:
        if spec.model_format is ModelFormat.LEMUR:
            constructor = "its class Net"
            with without_downloads():
                network = code.Net(shape, _out_shape(spec), arguments, torch.device("cpu"))
        else:
            constructor = str(spec.entry_point)
            network = getattr(code, constructor)(**arguments)
    except (Exception, SystemExit) as error:
        reason = explanations.of_construction(error, spec, shape)
        raise explained(Stage.LOAD, error, reason) from error
    if not isinstance(network, torch.nn.Module):
        raise refused(f"{constructor} returns a {type(network).__name__}, not a torch.nn.Module")
    return network


def _out_shape(spec: ModelSpec) -> tuple[int, ...]:
    """Return the shape of the output as LEMUR's loaders announce it."""
    dataset = DATASETS.get(spec.dataset)
    return (dataset and dataset.out_shape) or (spec.classes,)


def load_weights(network: torch.nn.Module, file: Path) -> None:
    """Load a `.safetensors` file, or one of `torch.save`, into `network`: exactly the weights that it has.

    Raises:
        Failure: the file contains something other than weights, or weights of another network.
    """
    weights = _read_safetensors(file) if file.suffix == ".safetensors" else _read_pt(file)
    own = network.state_dict()
    for wrapper in _WRAPPERS:
        if weights and all(name.startswith(wrapper) and name not in own for name in weights):
            weights = {name.removeprefix(wrapper): tensor for name, tensor in weights.items()}
    weights = _under_own_names(weights, own)
    missing, unexpected = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or unexpected:
        wrong = [("missing", missing), ("unexpected", unexpected)]
        named = "; ".join(f"{what}: {_some(names)}" for what, names in wrong if names)
        raise refused(
            f"its weights file does not fit the network: {named}; {_way_to_fit(missing, unexpected)}"
        )
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:  # shapes differ; lazy layers take any
        mismatches = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
        raise refused(f"its weights file does not fit the network: {_some(mismatches) or error}") from error


def _under_own_names(
    weights: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]
) -> Mapping[str, torch.Tensor]:
    """Return the weights with the network's names, where these differ by what wraps a network or its layers.

    That is torch.compile, and one prefix of all names, such as `model.` of a LightningModule.
    """
    given = {name.replace(_COMPILED, ""): tensor for name, tensor in weights.items()}
    names = {name.replace(_COMPILED, ""): name for name in own}
    needed = {name for name in names if not _is_counter(name)}
    if len(given) != len(weights) or not needed:
        return weights
    # A prefix changes no order, so that the first of both are the same.
    longer, shorter = (
        min((name for name in some if not _is_counter(name)), default="") for some in (given, needed)
    )
    prefix, added = longer.removesuffix(shorter), shorter.removesuffix(longer)
    if prefix.endswith(".") and all(name.startswith(prefix) for name in given):
        given = {name.removeprefix(prefix): tensor for name, tensor in given.items()}
    elif added.endswith("."):
        given = {f"{added}{name}": tensor for name, tensor in given.items()}
    if not needed <= given.keys() <= names.keys():
        return weights
    return {name: given[plain] if plain in given else own[name] for plain, name in names.items()}


def _is_counter(name: str) -> bool:
    """Whether a buffer is one that old state dicts do not have, and only training uses."""
    return name.rpartition(".")[2] == "num_batches_tracked"


def _way_to_fit(missing: Sequence[str], unexpected: Sequence[str]) -> str:
    """Return how a state dict is made that has exactly the network's names."""
    for name in unexpected:
        for own in missing:
            if name.endswith(f".{own}") or own.endswith(f".{name}"):
                with_prefix, without = (name, own) if len(name) > len(own) else (own, name)
                prefix = with_prefix.removesuffix(without)
                whose = "its names" if with_prefix == name else "the network's names"
                return (
                    f"{whose} begin with {prefix}: save the state dict of the network that this code builds"
                )
    if missing:
        return "save network.state_dict() of the whole network that this code builds"
    return "leave out what the network has not: {name: weights[name] for name in network.state_dict()}"


def _read_safetensors(file: Path) -> Mapping[str, torch.Tensor]:
    try:
        weights: Mapping[str, torch.Tensor] = load_file(file)
    except Exception as error:  # SafetensorError derives from Exception alone
        raise explained(Stage.LOAD, error, "its weights file is not a safetensors file") from error
    return weights


def _read_pt(file: Path) -> Mapping[str, torch.Tensor]:
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's unpickler raises anything for a file of something else
        named = _PICKLED.search(str(error))
        cause = (
            f"its weights file contains an object of {named[1]}, and only weights are ever unpickled"
            if named
            # What torch says of the others advises to unpickle everything.
            else "its weights file cannot be read as a state dict of torch.save"
        )
        remedy = "save them by torch.save(network.state_dict(), ...), or as .safetensors"
        reason = Explanation(cause=cause, remedy=remedy)
        raise explained(Stage.LOAD, error, reason) from error
    for name in _NESTED:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
    if not isinstance(loaded, Mapping) or not all(map(_is_weight, loaded.items())):
        raise refused("its weights file contains no state dict: names with a tensor each")
    return loaded


def _is_weight(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], torch.Tensor)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
