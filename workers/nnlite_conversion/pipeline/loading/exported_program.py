"""Loads a program of torch.export (`.pt2`) from an untrusted file.

torch's loader executes parts of such a file: pickled sample inputs, weights and constants, compiled
libraries, guards in Python, sizes that are evaluated. Here it gets a copy without those parts, and unpickles
weights only (https://docs.pytorch.org/docs/stable/export/pt2_archive.html documents the format). Runs in the
forked child only.
"""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.export.pt2_archive._package import load_pt2
from torch.utils import _pytree as pytree

from nnlite.catalog.model import ModelInput
from nnlite.errors import Failure
from nnlite.vocabulary import Stage
from nnlite_conversion.explanations import explained, refused

#: Name of the program in a file of torch.export.save.
_PROGRAM = "models/model.json"
_SAMPLES = "data/sample_inputs/model.pt"
_KEPT = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)"
    r"|data/weights/(weight_\d+|model\.pt|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model\.pt|model_constants_config\.json)"
)
#: Largest program without its weights, bytes of JSON.
_MAX_PROGRAM_BYTES = 256 << 20

_OPERATOR = re.compile(r"torch\.ops\.\w+\.\w+\.(?!__)\w+|(_operator|math)\.\w+|torch\.sym_\w+")
#: Text of a size, as sympy's `srepr` writes it, without the names of symbols.
_SIZE = re.compile(r"[\w\s+\-*/%(),<>=!&|~]*")
_SYMBOL = re.compile(r"'[a-z]{1,3}\d+'")
_SIZE_WORD = re.compile(
    r"[a-z]{1,3}\d+|Symbol|Integer|Rational|Add|Mul|Pow|Abs|Max|Min|Eq|Ne|Ge|Gt|Le|Lt|And|Or|Not|[Tt]rue|[Ff]alse"
    r"|positive|negative|nonnegative|integer|evaluate|FloorDiv|ModularIndexing|Where|PythonMod|Mod|CleanDiv"
    r"|CeilDiv|CeilToInt|FloorToInt|IntTrueDiv|FloatTrueDiv|PowByNatural|ToFloat|TruncToInt|TruncToFloat|Identity"
)


class _Positional(torch.nn.Module):  # type: ignore[misc]
    """Takes a program's tensors as positional arguments, in the order of its signature."""

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        # Guards are Python source from the file.
        self.program = program.module(check_guards=False)
        self._arguments = program.call_spec.in_spec

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Run the program."""
        positional, named = pytree.tree_unflatten(list(inputs), self._arguments)
        return self.program(*positional, **named)


def load(
    file: Path, requested: tuple[ModelInput, ...], folder: Path
) -> tuple[torch.nn.Module, tuple[ModelInput, ...]]:
    """Return the program in `file` as a network, and its inputs.

    Args:
        file: written by torch.export.save.
        requested: the inputs that the user declares; empty: the program's.
        folder: where the copy without executable parts is written.

    Raises:
        Failure: it cannot be read without executing something, is in training mode, or takes other inputs.
    """
    copy = folder / "checked.pt2"
    try:
        _copy_without_code(file, copy)
        with mock.patch.object(torch, "load", _load_weights_only):
            programs = load_pt2(str(copy)).exported_programs
    except Failure:
        raise
    except Exception as error:  # torch's loader raises anything for a file that is not one of its own
        reason = "it cannot be read as a program of torch.export.save; save it again with the worker's torch"
        raise explained(Stage.LOAD, error, f"{reason} ({torch.__version__})") from error
    program = programs["model"]
    if operator := next(_training(program.graph_module), None):
        raise refused(
            f"it is in training mode ({operator}); call eval() on the network and export it in eval mode"
        )
    inputs = _inputs(program, requested)
    return _Positional(program), inputs


_original_load = torch.load


def _load_weights_only(*arguments: Any, **options: Any) -> Any:
    return _original_load(*arguments, **{**options, "weights_only": True})


def _copy_without_code(file: Path, copy: Path) -> None:
    """Copy the parts that a program needs, and nothing that would be executed.

    Raises:
        Failure: the program calls something other than torch's operators.
        zipfile.BadZipFile, ValueError, KeyError: it is not such a file.
    """
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(copy, "w") as target:
        for entry in source.infolist():
            # All names begin with one folder, which has the name that the file had when it was saved.
            name = entry.filename.partition("/")[2]
            if _KEPT.fullmatch(name):
                target.writestr(f"model/{name}", source.read(entry))
            elif name == _PROGRAM:
                target.writestr(f"model/{name}", _checked(source, entry))
        # Empty, so that there is nothing to unpickle.
        target.writestr(f"model/{_SAMPLES}", b"")
        if f"model/{_PROGRAM}" not in target.namelist():
            raise ValueError(f"no {_PROGRAM} in it")


def _checked(source: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return the JSON of a program without its guards, after checking everything that would be evaluated."""
    if entry.file_size > _MAX_PROGRAM_BYTES:
        raise refused(f"its program has {entry.file_size} bytes; at most {_MAX_PROGRAM_BYTES} are read")
    program = json.loads(source.read(entry))
    for key, text in _texts(program):
        if key in ("target", "as_operator") and not _OPERATOR.fullmatch(text):
            raise refused(f"its program calls {text[:100]!r}, which is no operator of torch")
        if key == "expr_str" and not _is_size(text):
            raise refused(f"its program has the size {text[:100]!r}, which is more than arithmetic")
    program["guards_code"] = []
    return json.dumps(program).encode()


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    """Yield every string in a JSON value with its key."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield from ((key, text) for key, text in item.items() if isinstance(text, str))
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


def _is_size(text: str) -> bool:
    arithmetic = _SYMBOL.sub("", text)
    words = re.findall(r"[A-Za-z_]\w*", arithmetic)
    return bool(_SIZE.fullmatch(arithmetic)) and all(map(_SIZE_WORD.fullmatch, words))


def _training(module: torch.fx.GraphModule) -> Iterator[str]:
    """Yield the operators that are in training mode, including those of branches."""
    for node in module.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or schema is None:
            continue
        arguments = dict(zip((argument.name for argument in schema.arguments), node.args, strict=False))
        arguments |= node.kwargs
        if any(arguments.get(name) is True for name in ("train", "training")) or arguments.get("dropout_p"):
            yield str(node.target)
    for child in module.children():
        if isinstance(child, torch.fx.GraphModule):
            yield from _training(child)


def _inputs(program: ExportedProgram, requested: tuple[ModelInput, ...]) -> tuple[ModelInput, ...]:
    """Return a program's inputs; a dynamic batch is 1, other dynamic sizes are the requested ones."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    specs = [spec for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT]
    tensors = [values.get(getattr(spec.arg, "name", "")) for spec in specs]
    if not tensors or not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        raise refused("it takes arguments that are not tensors; export it with tensors as its only arguments")
    declared = [_DeclaredInput(tensor) for tensor in tensors]
    if any(each.name for each in requested):
        raise refused("its inputs are named by the program; give --input without names, in its order")
    batch = declared[0].sizes[0] if len(declared[0].sizes) > 1 else None
    if batch not in (1, None) and not (requested and not requested[0].batched):
        raise refused(
            f"it was exported for a batch of {batch}; export it with a batch of 1 or a dynamic one; if its "
            "first axis is no batch, name the axes by letters: --input T16xF80"
        )
    if requested and len(requested) != len(declared):
        raise refused(f"it takes {len(declared)} inputs, but {len(requested)} are named")
    if requested:
        return tuple(each.matched(number, requested[number]) for number, each in enumerate(declared))
    return tuple(each.as_declared(number) for number, each in enumerate(declared))


class _DeclaredInput:
    """An input as the program declares it; a dynamic size is None."""

    def __init__(self, tensor: Any) -> None:
        self.sizes = [size if isinstance(size, int) else None for size in tensor.shape]
        self.dtype = str(tensor.dtype).removeprefix("torch.")

    def as_declared(self, number: int) -> ModelInput:
        """Return the declared input with a batch of 1; other dynamic sizes are an error."""
        sizes = [1, *self.sizes[1:]] if self.sizes[:1] == [None] else self.sizes
        shape = tuple(size for size in sizes if size is not None)
        if len(shape) < len(sizes):
            example = "x".join("224" if size is None else str(size) for size in sizes)
            raise refused(
                f"input {number} is {self}, and the sizes of an artifact are fixed; "
                f"give a number for each ?, such as --input {example}:{self.dtype}"
            )
        return ModelInput(shape=shape, dtype=self.dtype)

    def matched(self, number: int, requested: ModelInput) -> ModelInput:
        """Return the requested input if it matches the declared one."""
        fits = len(self.sizes) == len(requested.shape) and all(
            size in (None, wanted) for size, wanted in zip(self.sizes, requested.shape, strict=True)
        )
        if not fits or self.dtype != requested.dtype:
            text = f"{'x'.join(map(str, requested.shape))}:{requested.dtype}"
            raise refused(f"input {number} was exported as {self}, which {text} does not fit")
        return requested

    def __str__(self) -> str:
        return f"{'x'.join('?' if size is None else str(size) for size in self.sizes)}:{self.dtype}"
