"""Imports everything that a conversion needs into a process, so that its forked children start at once.

The process that preloads must keep one thread and must never convert: forks of a process that has lowered a
model hang in jax's thread pool.
"""

import contextlib
import gc
import importlib
import logging
import os
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from nnlite.errors import NnliteError
from nnlite.host.installation import install_hint

#: Read by the libraries when they are imported.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "LITERT_TORCH_SHOW_PROGRESS": "n",
    # A process that has touched CUDA cannot be forked; children open the GPU that `isolation.gpu` chose. Some
    # libraries ask for GPUs when they are imported; with the second, torch answers without touching the
    # driver.
    "CUDA_VISIBLE_DEVICES": "",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    "JAX_PLATFORMS": "cpu",
}

MODULES = (
    "torch",
    "torchvision",
    "litert_torch",
    "ai_edge_quantizer.quantizer",
    "ai_edge_litert.interpreter",
    "ai_edge_litert.schema_py_generated",
    "nnlite_conversion.pipeline.body",
)

#: Modules that lowering imports on first use; preloading them saves each child 0.3 s.
LAZY_MODULES = (
    "jaxlib.mlir.dialects.mhlo",
    "litert_converter.mlir.dialects.builtin",
    "scipy.cluster.vq",
    "scipy.spatial",
)


@cache
def preload(*, network: bool = False) -> None:
    """Import the converter's libraries and run torch's export machinery once.

    The first `torch.export` of a process takes about 2 s longer than later ones, so it is done here and not
    in every child. The objects that exist then are hidden from the garbage collector; children would
    otherwise copy every page that it touches. What is garbage by then stays, too: a collection takes half a
    second of processor time and frees no page.

    Args:
        network: keep Hugging Face's libraries online.

    Raises:
        NnliteError: a library is missing, or the process has more than one thread.
    """
    for name, value in ENVIRONMENT.items():
        if not (network and name.endswith("_OFFLINE")):
            os.environ[name] = value
    with _without_collections(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in MODULES:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise NnliteError(
                    f"a conversion worker needs {module}: {error}; install it: {install_hint('convert')}"
                ) from error
        for module in LAZY_MODULES:
            with contextlib.suppress(ImportError):  # another version may not have it
                importlib.import_module(module)
        _export_once()
        gc.freeze()
    threads = sorted(int(entry.name) for entry in Path("/proc/self/task").iterdir())
    if len(threads) > 1:
        names = [Path(f"/proc/self/task/{thread}/comm").read_text().strip() for thread in threads]
        raise NnliteError(
            f"{len(threads)} threads ({', '.join(names)}) after the imports: forks would hang; "
            "preload before anything else starts a thread"
        )


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Switch the garbage collector off: it takes a sixth of the time of imports, which leave it little."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _export_once() -> None:
    """Export a tiny network and prepare its lowering: torch only, no MLIR, no jax."""
    import torch

    from nnlite_conversion.pipeline.lowering import fast_lowering
    from nnlite_conversion.pipeline.lowering import lower as lowering

    if reason := fast_lowering.not_fitting():
        logging.getLogger(__name__).warning("%s", reason)
    # torch shows a progress bar of decompositions, whose monitor would be a second thread.
    importlib.import_module("tqdm").tqdm.monitor_interval = 0
    torch.set_num_threads(1)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 2),
    ).eval()
    lowering.prepared(lowering.export(lowering.ChannelsLast(network), (torch.zeros(1, 8, 8, 3),)))
