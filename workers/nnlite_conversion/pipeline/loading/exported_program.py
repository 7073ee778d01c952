"""A program of torch.export, from a file that nobody trusts.

torch's own loader executes what such a file can hold: pickled sample inputs,
weights and constants, compiled libraries, guards that are Python, sizes that
are evaluated. Here it gets a copy with none of that, and no way to unpickle
(https://docs.pytorch.org/docs/stable/export/pt2_archive.html names the parts).
Runs in the forked child only.
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
from nnlite.errors import Failure, FailureClass
from nnlite.vocabulary import Stage
from nnlite_conversion.explanations import explained

#: What torch.export.save calls the one program of a file.
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
#: The text of a size, as sympy's `srepr` writes it, without its symbols' names.
_SIZE = re.compile(r"[\w\s+\-*/%(),<>=!&|~]*")
_SYMBOL = re.compile(r"'[a-z]{1,3}\d+'")
_SIZE_WORD = re.compile(
    r"[a-z]{1,3}\d+|Symbol|Integer|Rational|Add|Mul|Pow|Abs|Max|Min|Eq|Ne|Ge|Gt|Le|Lt|And|Or|Not|[Tt]rue|[Ff]alse"
    r"|positive|negative|nonnegative|integer|evaluate|FloorDiv|ModularIndexing|Where|PythonMod|Mod|CleanDiv"
    r"|CeilDiv|CeilToInt|FloorToInt|IntTrueDiv|FloatTrueDiv|PowByNatural|ToFloat|TruncToInt|TruncToFloat|Identity"
)


class _Positional(torch.nn.Module):  # type: ignore[misc]
    """Takes the tensors of a program one after another, as they stand in its signature."""

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        # Its guards are Python text from the file.
        self.program = program.module(check_guards=False)
        self._arguments = program.call_spec.in_spec

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Run the program."""
        positional, named = pytree.tree_unflatten(list(inputs), self._arguments)
        return self.program(*positional, **named)


def load(
    file: Path, asked: tuple[ModelInput, ...], folder: Path
) -> tuple[torch.nn.Module, tuple[ModelInput, ...]]:
    """Return the program in `file` as a network, and the inputs that it takes.

    Args:
        file: as torch.export.save wrote it.
        asked: the inputs that the user names; empty: the program's own.
        folder: for the copy that is read.

    Raises:
        Failure: it cannot be read without executing something, still trains, or takes other inputs.
    """
    copy = folder / "checked.pt2"
    try:
        _copy_without_code(file, copy)
        with mock.patch.object(torch, "load", _load_weights_only):
            programs = load_pt2(str(copy)).exported_programs
    except Failure:
        raise
    except Exception as error:
        reason = "it cannot be read as a program of torch.export.save; save it again with the worker's torch"
        raise explained(Stage.LOAD, error, f"{reason} ({torch.__version__})") from error
    program = programs["model"]
    if trains := next(_training(program.graph_module), None):
        raise _model(f"it still trains ({trains}); call eval() on the network and export it in eval mode")
    inputs = _taken(program, asked)
    return _Positional(program), inputs


_original_load = torch.load


def _load_weights_only(*arguments: Any, **options: Any) -> Any:
    return _original_load(*arguments, **{**options, "weights_only": True})


def _copy_without_code(file: Path, copy: Path) -> None:
    """Write what a program needs and nothing that would be executed.

    Raises:
        Failure: the program itself names something else than operators of torch.
        zipfile.BadZipFile, ValueError, KeyError: it is no such file.
    """
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(copy, "w") as target:
        for entry in source.infolist():
            # All names begin with one folder, which is called as the file was.
            name = entry.filename.partition("/")[2]
            if _KEPT.fullmatch(name):
                target.writestr(f"model/{name}", source.read(entry))
            elif name == _PROGRAM:
                target.writestr(f"model/{name}", _checked(source, entry))
        # Without a byte in it there is nothing to unpickle.
        target.writestr(f"model/{_SAMPLES}", b"")
        if f"model/{_PROGRAM}" not in target.namelist():
            raise ValueError(f"no {_PROGRAM} in it")


def _checked(source: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return the JSON of a program without its guards, which are Python."""
    if entry.file_size > _MAX_PROGRAM_BYTES:
        raise _model(f"its program has {entry.file_size} bytes; at most {_MAX_PROGRAM_BYTES} are read")
    program = json.loads(source.read(entry))
    for key, text in _texts(program):
        if key in ("target", "as_operator") and not _OPERATOR.fullmatch(text):
            raise _model(f"its program calls {text[:100]!r}, which is no operator of torch")
        if key == "expr_str" and not _is_size(text):
            raise _model(f"its program has the size {text[:100]!r}, which is more than arithmetic")
    program["guards_code"] = []
    return json.dumps(program).encode()


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    """Yield every text in a JSON value with the key that it stands under."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield from ((key, text) for key, text in found.items() if isinstance(text, str))
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)


def _is_size(text: str) -> bool:
    arithmetic = _SYMBOL.sub("", text)
    words = re.findall(r"[A-Za-z_]\w*", arithmetic)
    return bool(_SIZE.fullmatch(arithmetic)) and all(map(_SIZE_WORD.fullmatch, words))


def _training(module: torch.fx.GraphModule) -> Iterator[str]:
    """Yield the operators that behave as in training, those of branches included."""
    for node in module.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or schema is None:
            continue
        given = dict(zip((argument.name for argument in schema.arguments), node.args, strict=False))
        given |= node.kwargs
        if any(given.get(name) is True for name in ("train", "training")) or given.get("dropout_p"):
            yield str(node.target)
    for child in module.children():
        if isinstance(child, torch.fx.GraphModule):
            yield from _training(child)


def _taken(program: ExportedProgram, asked: tuple[ModelInput, ...]) -> tuple[ModelInput, ...]:
    """Return the inputs of a program: sizes that it leaves open are the user's, a batch is 1."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    specs = [spec for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT]
    tensors = [values.get(getattr(spec.arg, "name", "")) for spec in specs]
    if not tensors or not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        raise _model("it takes something else than tensors; export it with tensors as its only arguments")
    own = [_Own(tensor) for tensor in tensors]
    batch = own[0].sizes[0] if len(own[0].sizes) > 1 else None
    if batch not in (1, None):
        raise _model(f"it was exported for a batch of {batch}; export it with a batch of 1 or a dynamic one")
    if asked and len(asked) != len(own):
        raise _model(f"it takes {len(own)} inputs, but {len(asked)} are named")
    if asked:
        return tuple(mine.agreed(number, asked[number]) for number, mine in enumerate(own))
    return tuple(mine.as_it_is(number) for number, mine in enumerate(own))


class _Own:
    """An input as the program declares it; a size that it leaves open is None."""

    def __init__(self, tensor: Any) -> None:
        self.sizes = [size if isinstance(size, int) else None for size in tensor.shape]
        self.dtype = str(tensor.dtype).removeprefix("torch.")

    def as_it_is(self, number: int) -> ModelInput:
        sizes = [1, *self.sizes[1:]] if self.sizes[:1] == [None] else self.sizes
        shape = tuple(size for size in sizes if size is not None)
        if len(shape) < len(sizes):
            raise _model(f"input {number} is {self}; say what the open sizes are: --input SHAPE:{self.dtype}")
        return ModelInput(shape=shape, dtype=self.dtype)

    def agreed(self, number: int, asked: ModelInput) -> ModelInput:
        fits = len(self.sizes) == len(asked.shape) and all(
            mine in (None, yours) for mine, yours in zip(self.sizes, asked.shape, strict=True)
        )
        if not fits or self.dtype != asked.dtype:
            given = f"{'x'.join(map(str, asked.shape))}:{asked.dtype}"
            raise _model(f"input {number} was exported as {self}, which {given} does not fit")
        return asked

    def __str__(self) -> str:
        return f"{'x'.join('?' if size is None else str(size) for size in self.sizes)}:{self.dtype}"


def _model(reason: str) -> Failure:
    return Failure(FailureClass.MODEL, Stage.LOAD, reason)
