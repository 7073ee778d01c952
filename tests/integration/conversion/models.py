"""Code of tiny models, well-behaved and hostile."""

import textwrap


def network(forward: str, init: str = "pass", top: str = "") -> str:
    """Return a model file: statements at its top, in its constructor and in its forward."""
    indented = textwrap.indent(textwrap.dedent(forward).strip(), "        ")
    return "\n".join(
        [
            "import ctypes, os, pathlib, signal, sys, time, torch",
            "import torch.nn.functional as F",
            textwrap.dedent(top).strip(),
            "class Net(torch.nn.Module):",
            "    def __init__(self, in_shape, out_shape, prm, device):",
            "        super().__init__()",
            textwrap.indent(textwrap.dedent(init).strip(), "        "),
            "    def forward(self, x):",
            indented,
        ]
    )


CLASSIFIER = network(
    "return self.head(F.relu(self.conv(x)).mean((2, 3)))",
    "self.conv = torch.nn.Conv2d(in_shape[1], 8, 3); self.head = torch.nn.Linear(8, out_shape[0])",
)

#: Converts in half the time of a classifier; for tests of what happens around the conversion.
DOUBLING = network("return x * 2")
