"""Exports a PyTorch module and lowers it to a `.tflite` file, with a place for rewrites in between.

`litert_torch.convert` has no hook for passes between export and lowering, so its steps are called one by one.
Only this module depends on the library's internal layout, for which pyproject.toml pins the library's
version.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from litert_torch import backend, fx_infra, model
from litert_torch._convert import core, litert_converter, signature
from torch.export import ExportedProgram

from nnlite.vocabulary import Shortcut
from nnlite_conversion.culprit import CodeLine, HighRankNode, UnsupportedNode, has_no_size, operator_of
from nnlite_conversion.pipeline.lowering.attention_paths import as_kernels_compute
from nnlite_conversion.pipeline.lowering.fast_lowering import fast_lowering, uses
from nnlite_conversion.pipeline.lowering.gradient_modes import without_derivatives, without_gradient_modes
from nnlite_conversion.pipeline.lowering.large_weights import LargeWeights
from nnlite_conversion.pipeline.lowering.rewrites import OPERATORS
from nnlite_conversion.pipeline.lowering.rewrites.operators import rewrite_operators
from nnlite_conversion.pipeline.lowering.rewrites.packages import of_packages
from nnlite_conversion.pipeline.lowering.rewrites.ranks import on_fewer_dimensions, too_many_dimensions
from nnlite_conversion.remedies import is_random

#: Name that LiteRT's tools expect for the only signature.
SIGNATURE = model.DEFAULT_SIGNATURE_NAME

#: Modules of layers that compute with integers.
_QUANTIZED = re.compile(r"torch\.(ao\.)?nn\.(intrinsic\.)?quantized(\.|$)")


class NotTensors(TypeError):
    """A network returned something other than real tensors.

    Args:
        remedy: what its author can do; empty: nothing is known.
    """

    #: Where it returns it; None: not known.
    code_line: CodeLine | None = None

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause)
        self.remedy = remedy


class ChannelsLast(torch.nn.Module):  # type: ignore[misc]
    """Takes images as (N, H, W, C), as mobile runtimes do, and returns one tensor or a flat tuple of tensors.

    Args:
        network: in eval mode; takes images as (N, C, H, W).
        images: for each input whether it is an image; others are passed unchanged.
        names: keywords of the last inputs.
    """

    def __init__(
        self, network: torch.nn.Module, images: tuple[bool, ...] = (True,), names: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        self.network = network
        self.images = images
        self.names = names
        # Not by eval(), which exported programs do not support.
        self.training = False

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Run the network on its inputs in its own layout."""
        transposed = [
            _channels_first(tensor) if is_image else _own(tensor)
            for tensor, is_image in zip(inputs, self.images, strict=True)
        ]
        positional = transposed[: len(transposed) - len(self.names)]
        named = dict(zip(self.names, transposed[len(positional) :], strict=True))
        outputs = tensors_of(self.network(*positional, **named))
        return outputs[0] if len(outputs) == 1 else outputs


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy of an input, outside of a trace: the network may change it in place."""
    return tensor if torch.compiler.is_exporting() else tensor.clone()


def _channels_first(image: torch.Tensor) -> torch.Tensor:
    """Return a copy of an image as (N, C, H, W), with the strides of a tensor that was made so.

    Of one channel, `contiguous()` copies nothing and the result keeps strides that look like channels last,
    so that a convolution returns them and the network's own `view()` fails.
    """
    permuted = image.permute(0, 3, 1, 2)
    if permuted.is_contiguous():
        return permuted.clone(memory_format=torch.contiguous_format)
    return permuted.contiguous()


def tensors_of(output: Any) -> tuple[torch.Tensor, ...]:
    """Return the tensors in a network's output, depth first; None stands for an absent one.

    Raises:
        NotTensors: it contains something else, no tensor at all, or a complex tensor.
    """
    tensors = tuple(_leaves(output))
    if not tensors:
        raise NotTensors("forward returns no tensor at all")
    return tensors


def _leaves(output: Any) -> list[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        if output.is_complex():
            raise NotTensors(
                "forward returns a complex tensor, which LiteRT does not have",
                "return torch.view_as_real of it: real and imaginary parts in a last dimension of two",
            )
        return [output.resolve_neg() if output.is_neg() else output]
    if output is None:
        return []
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, tuple | list):
        return [leaf for part in output for leaf in _leaves(part)]
    raise NotTensors(
        f"forward returns a {type(output).__name__}, not a tensor, tuple, list or dict of tensors"
    )


def scripted(network: torch.nn.Module) -> list[str]:
    """Return the paths of the network's layers that are TorchScript."""
    return [
        f"self.{name.removeprefix('network.')}"
        for name, layer in network.named_modules()
        if isinstance(layer, torch.jit.ScriptModule)
    ]


def quantized(network: torch.nn.Module) -> list[str]:
    """Return the paths of the network's layers that PyTorch has quantized."""
    return [
        f"self.{name.removeprefix('network.')}"
        for name, layer in network.named_modules()
        if _QUANTIZED.match(type(layer).__module__) and type(layer).__name__ != "FloatFunctional"
    ]


def export(module: torch.nn.Module, samples: tuple[torch.Tensor, ...]) -> ExportedProgram:
    """Trace `module` on `samples`, one for each input, to a graph of ATen operators.

    Raises:
        Exception: torch.export cannot trace it; its errors have no base class.
    """
    # torch.cond and the like trace their branches by the compiler.
    with torch.compiler.set_stance("default"), as_kernels_compute(), without_derivatives():
        program = core.export_torch_signature(_signature(module, samples), run_decompositions=False)
    without_gradient_modes(program)
    return program


def operators(program: ExportedProgram) -> dict[str, int]:
    """Count the operators of a graph that compute something, such as `aten.conv2d`."""
    targets = (
        node.target
        for node in program.graph.nodes
        if isinstance(node.target, torch._ops.OpOverload) and node.target._schema.returns
    )
    return dict(sorted(Counter(target._schema.name.replace("::", ".") for target in targets).items()))


def has_integers(program: ExportedProgram) -> bool:
    """Whether the graph computes 64-bit integers; as parameters, many networks have unused ones."""
    values = (node.meta.get("val") for node in program.graph.nodes if node.op == "call_function")
    return any(isinstance(value, torch.Tensor) and value.dtype is torch.int64 for value in values)


def has_fixed_sizes(program: ExportedProgram) -> bool:
    """Whether no size in the graph depends on the values of the network's input; else lowering refuses it."""
    return not any(map(has_no_size, program.graph.nodes))


def decompose(program: ExportedProgram) -> ExportedProgram:
    """Decompose the graph to core ATen operators and those that litert-torch lowers directly."""
    program = fx_infra.graph_utils.reset_from_node_meta(program)
    return fx_infra.safe_run_decompositions(program, fx_infra.decomp.pre_convert_decomp(), can_skip=False)


def rewritten(program: ExportedProgram) -> tuple[ExportedProgram, tuple[str, ...]]:
    """Return the decomposed `program` with rewritten operators, and the names of what applied."""
    table = fx_infra.decomp.pre_convert_decomp()
    program, names = rewrite_operators(program, {**OPERATORS, **of_packages().operators}, table)
    # Those of rewritten operators, too.
    program, more = rewrite_operators(program, on_fewer_dimensions(program.graph), table)
    return program, tuple(dict.fromkeys((*names, *more)))


def lower(
    program: ExportedProgram, module: torch.nn.Module, samples: tuple[torch.Tensor, ...], path: Path
) -> tuple[str, ...]:
    """Write the exported `program` of `module` to `path` as a `.tflite` file; return the applied rewrites.

    Raises:
        Exception: an operator cannot be lowered; RuntimeError and others without a base class.
    """
    sig = _signature(module, samples)
    if uses(Shortcut.WEIGHTS):
        weights = LargeWeights()
        try:
            return _lower(program, sig, path, weights)
        except Exception as error:
            if not weights:
                raise
            print(f"lowered again without the shortcut weights: {error!r}", file=sys.stderr)
    return _lower(program, sig, path, None)


def _lower(
    program: ExportedProgram, sig: signature.Signature, path: Path, weights: LargeWeights | None
) -> tuple[str, ...]:
    with fast_lowering(weights):
        program = decompose(program)
        _require_no_effects(program)
        program, rewrites = rewritten(program)
        _require_not_random(program)
        for node in too_many_dimensions(program.graph):
            raise HighRankNode(node)
        program = core._run_convert_passes(program)
        exporter = litert_converter.exported_programs_to_flatbuffer([program], [sig])
    if weights is None:
        exporter.to_file(path)
    else:
        weights.replace_constants(exporter.module)
        exporter.to_file(path)
        weights.write(path)
    return rewrites


def decomposed(program: ExportedProgram) -> ExportedProgram:
    """Return the graph that `lower` lowers: decomposed, and rewritten unless operators have effects."""
    with fast_lowering():
        program = decompose(program)
        return program if _with_effects(program) else rewritten(program)[0]


def to_mlir(program: ExportedProgram) -> None:
    """Lower a decomposed `program` to MLIR and no further.

    Raises:
        Exception: as `lower`.
    """
    with fast_lowering():
        _require_no_effects(program)
        backend.export.exported_program_to_mlir(core._run_convert_passes(program))


def prepared(program: ExportedProgram) -> ExportedProgram:
    """Return the program that is lowered to MLIR: what `lower` does without MLIR and jax.

    What torch and the shortcuts set up at first use is then there for the forks of this process.
    """
    with fast_lowering():
        program = core._run_convert_passes(rewritten(decompose(program))[0])
        for table in _lowering_tables():
            program = fx_infra.safe_run_decompositions(program, table, can_skip=False)
        return program


def _lowering_tables() -> Iterator[Mapping[Any, Any]]:
    """Yield the tables by which `exported_program_to_mlir` decomposes, one after the other."""
    yield fx_infra.decomp.pre_lower_decomp()
    multinomial = torch.ops.aten.multinomial.default
    yield fx_infra.decomp.pre_lower_decomp() | {multinomial: backend.export.torch_tfl.decomps[multinomial]}


def _require_no_effects(program: ExportedProgram) -> None:
    """Raise for an operator with effects, as linalg has; later passes fail on it without its name."""
    if nodes := _with_effects(program):
        raise UnsupportedNode(nodes[0])


def _require_not_random(program: ExportedProgram) -> None:
    """Raise for an operator that draws numbers: the converter would draw them once, for all inputs."""
    for node in program.graph.nodes:
        if node.op == "call_function" and node.users and is_random(operator_of(node)):
            raise UnsupportedNode(node)


def _with_effects(program: ExportedProgram) -> list[torch.fx.Node]:
    return [*program.graph.find_nodes(op="call_function", target=torch.ops.higher_order.with_effects)]


def _signature(module: torch.nn.Module, samples: tuple[torch.Tensor, ...]) -> signature.Signature:
    return signature.Signature(SIGNATURE, module, samples, None)
