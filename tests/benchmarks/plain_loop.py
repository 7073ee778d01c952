"""Conversions by the unmodified library, as a script does them, to compare the worker's with."""

import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from nnlite_conversion.pipeline.verifying import flatbuffer

#: Of the input that outputs are compared for.
SEED = 11


class Taken(NamedTuple):
    """What conversions took."""

    #: By the clock.
    seconds: float
    cpu_seconds: float


def plain_loop(models: list[dict[str, Any]], codes: list[str], wanted: int, folder: Path) -> dict[str, Taken]:
    """Convert as a script does; return what each of the first `wanted` models that convert took.

    A file of each is in the folder, with the model's name: to write one again costs less than a new one.
    """
    import litert_torch
    import torch

    from nnlite_conversion.pipeline.loading.load import WEIGHTS_SEED, seed_everything

    class ChannelsLast(torch.nn.Module):
        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: torch.Tensor) -> Any:
            return self.module(x.permute(0, 3, 1, 2).contiguous())

    taken: dict[str, Taken] = {}
    # The first conversion of a process sets up torch, jax and the converter; the worker does it beforehand.
    litert_torch.convert(ChannelsLast(torch.nn.Conv2d(3, 4, 3)).eval(), (torch.zeros(1, 8, 8, 3),))
    for model, code in zip(models, codes, strict=True):
        began_s, cpu_began_s = time.monotonic(), time.process_time()
        try:
            namespace: dict[str, Any] = {"__name__": "model"}
            exec(compile(code, model["name"], "exec"), namespace)
            shape = model["input_shape"]
            seed_everything(WEIGHTS_SEED)
            module = namespace["Net"](
                tuple(shape), (model["classes"],), model["hyperparameters"], torch.device("cpu")
            )
            sample = torch.randn(shape[0], shape[2], shape[3], shape[1])
            converted = litert_torch.convert(ChannelsLast(module).eval(), (sample,))
            converted.export(str(folder / model["name"]))
        except Exception as error:  # noqa: BLE001  (whatever it is, the script would stop)
            print(f"plain: {model['name']}: {type(error).__name__}", file=sys.stderr)
            continue
        taken[model["name"]] = Taken(time.monotonic() - began_s, time.process_time() - cpu_began_s)
        if len(taken) == wanted:
            break
    return taken


def equal(plain: Path, ours: Path) -> bool:
    """Whether two files have the same operators and, for a random input, the same outputs bit by bit."""
    if not ours.exists() or flatbuffer.operators(plain) != flatbuffer.operators(ours):
        return False
    first, second = (_outputs(path) for path in (plain, ours))
    return [output.tobytes() for output in first] == [output.tobytes() for output in second]


def _outputs(path: Path) -> list[np.ndarray[Any, Any]]:
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    random = np.random.default_rng(SEED)
    for each in interpreter.get_input_details():
        interpreter.set_tensor(each["index"], random.standard_normal(each["shape"], np.float32))
    interpreter.invoke()
    return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]
