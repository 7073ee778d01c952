"""Output trees of NN-GPT, folder by folder, as its generator and its evaluation write them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnlite_benchmark.protocol import canary

NET = """
import torch

def supported_hyperparameters():
    return {"lr", "momentum"}

class Net(torch.nn.Module):
    def __init__(self, in_shape, out_shape, prm, device):
        super().__init__()
        self.pool = torch.nn.AdaptiveAvgPool2d(8)
        self.layer = torch.nn.Linear(in_shape[1] * 64, out_shape[0])

    def forward(self, x):
        return self.layer(self.pool(x).flatten(1))
"""


def net(name: str) -> str:
    """Code of a small network that is no other's."""
    return f"# {name}\n{NET}"


@dataclass(frozen=True)
class Tree:
    """`out/` of one NN-GPT run."""

    root: Path

    @property
    def epochs(self) -> Path:
        return self.root / "out" / "nngpt" / "llm" / "epoch"

    def folder(self, tag: str) -> Path:
        epoch, model = tag.split("_")
        folder = self.epochs / epoch / "synth_nn" / model
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def generate(self, tag: str, code: str | None = None, hp: dict[str, Any] | None = None) -> Path:
        """Write what the generator writes."""
        folder = self.folder(tag)
        (folder / "new_nn.py").write_text(net(tag) if code is None else code)
        (folder / "hp.txt").write_text(json.dumps(hp or {"lr": 0.01, "batch": 16, "momentum": 0.9}))
        # A pickle that would end the process that loads it.
        (folder / "dataframe.df").write_bytes(b"cos\n_exit\n(I1\ntR.")
        return folder

    def evaluate(self, tag: str, accuracy: float = 0.5, **cli_args: str) -> Path:
        """Write what the evaluation writes when it ends, in its order."""
        folder = self.folder(tag)
        (folder / "1.json").write_text(json.dumps([{"accuracy": accuracy, "uid": tag, "duration": 1}]))
        noted = {"eval_results": {"accuracy": accuracy}, "cli_args": cli_args}
        (folder / "eval_info.json").write_text(json.dumps(noted))
        return folder

    def model(self, tag: str, accuracy: float = 0.5, code: str | None = None) -> Path:
        """Write a whole folder."""
        self.generate(tag, code)
        return self.evaluate(tag, accuracy)

    def ready(self, tag: str) -> Path:
        """Write a ready int8 file, as the edge scorer leaves one."""
        file = self.root / "out" / "edge" / "tflite" / f"{tag}.tflite"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(canary.MODEL_FILE.read_bytes())
        return file

    def reject(self, tag: str, reason: str = "too similar to A0_B0") -> Path:
        """Write what the novelty filter leaves of a model."""
        folder = self.folder(tag)
        (folder / "new_nn.py.rejected").write_text(net(tag))
        (folder / "rejection_reason.txt").write_text(reason + "\n")
        return folder
