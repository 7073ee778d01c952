"""Decomposes the operators of a graph one by one, each signature once.

litert-torch decomposes an exported program three or four times, and each time torch runs its whole
ahead-of-time machinery over every node, which takes most of a conversion. What an operator becomes depends on
the operator, its arguments, and the shapes, strides and types of its tensors, and most nodes of a network
have the signature of another. So each signature is traced once, by the same dispatch as torch's, and its
nodes are copied for every other node; an operator that nothing decomposes is copied without that.

Operators that work in place are replaced first, where the memory that they change is known to be shared with
nothing. A graph that this does not cover, or with an operator that is not in `VERIFIED`, is left to torch.
"""

import copy
import operator
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest import mock

import torch
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.fake_tensor import FakeTensor
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature, InputKind, OutputKind
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental import proxy_tensor
from torch.fx.node import map_aggregate, map_arg
from torch.fx.passes.shape_prop import _extract_tensor_metadata
from torch.fx.proxy import _COPY_META_FIELDS
from torch.fx.traceback import NodeSource

from nnlite_conversion.pipeline.lowering.aten_operators import LeftToTorch, require_verified
from nnlite_conversion.pipeline.lowering.decomposition_tables import PreparedTable, Table, prepared_table
from nnlite_conversion.pipeline.lowering.in_place import without_in_place
from nnlite_conversion.pipeline.lowering.retracing import with_results
from nnlite_conversion.pipeline.lowering.signatures import key_of, signature_of

aten = torch.ops.aten

#: What a node's replacements inherit from it.
_INHERITED = ("stack_trace", *_COPY_META_FIELDS)
_PLAIN_INPUTS = {InputKind.USER_INPUT, InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR}


@contextmanager
def fast_decompositions() -> Iterator[None]:
    """Patch `ExportedProgram.run_decompositions` inside the context; no graph gets Python code there."""
    original, recompile = ExportedProgram.run_decompositions, GraphModule.recompile
    templates: dict[Hashable, dict[Hashable, Graph]] = {}

    def run_decompositions(
        program: ExportedProgram, table: Table | None = None, **options: Any
    ) -> ExportedProgram:
        if table is not None and not options:
            with suppress(Exception):  # torch's decomposition decides whether it is an error
                return Expander(program, prepared_table(table), templates).expanded()
        with mock.patch.object(GraphModule, "recompile", recompile):
            program.graph_module.recompile()
            return original(program, table, **options)

    with (
        mock.patch.object(ExportedProgram, "run_decompositions", run_decompositions),
        mock.patch.object(GraphModule, "recompile", lambda module: None),
    ):
        yield


@contextmanager
def _without_mkldnn() -> Iterator[None]:
    enabled = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(enabled)


class Expander:
    """Decomposes one program."""

    def __init__(
        self,
        program: ExportedProgram,
        prepared: PreparedTable,
        templates: dict[Hashable, dict[Hashable, Graph]],
    ) -> None:
        self.program = program
        self.prepared = prepared
        self.templates = templates.setdefault(prepared.key, {})
        self.graph = Graph()
        self.keys: dict[int, Hashable] = {}
        self.tracer: Any = None

    def expanded(self) -> ExportedProgram:
        """Return the decomposed program.

        Raises:
            LeftToTorch: torch has to do it.
            Exception: tracing an operator fails; there is no base class.
        """
        _require_plain(self.program.graph_signature)
        without_in_place(self.program.graph, self._key)
        inputs = self.program.graph.find_nodes(op="placeholder")
        fake_mode = torch._guards.detect_fake_mode([node.meta["val"] for node in inputs])
        if fake_mode is None:
            raise LeftToTorch("no inputs")

        def copy_graph() -> tuple[()]:
            self._copy()
            return ()

        # The tracer records what unknown signatures become; its own graph is not used. As in torch.export,
        # kernels of MKL-DNN are no operators.
        with (
            torch.no_grad(), fake_mode, self.prepared.active(), enable_python_dispatcher(),
            _without_mkldnn(),
        ):  # fmt: skip
            proxy_tensor.make_fx(
                copy_graph, self.prepared.decompositions, _disable_torch_fn_metadata_mode=True
            )()
        return self._program()

    def _copy(self) -> None:
        """Create the decomposed graph."""
        mode = proxy_tensor.get_proxy_mode()
        self.tracer = mode.tracer if mode else None
        values: dict[Node, Any] = {}
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                values[node] = self.graph.placeholder(node.target)
                values[node].meta = dict(node.meta)
            elif node.op == "output":
                results = map_arg(node.args[0], values.__getitem__)
                output = self.graph.output(
                    tuple(results) if isinstance(results, tuple | list) else (results,)
                )
                output.meta = dict(node.meta)
            elif node.op != "call_function":
                raise LeftToTorch(f"{node.name} is a {node.op}")
            elif node.target is operator.getitem and not isinstance(values[node.args[0]], Node):
                values[node] = values[node.args[0]][node.args[1]]
            else:
                values[node] = self._replacement(node, values)

    def _replacement(self, node: Node, values: dict[Node, Any]) -> Any:
        """Return the node, or nested nodes, whose results are those of `node`."""
        require_verified(node.target)
        args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
        inputs: list[Node] = []

        def type_of(each: Node) -> Hashable:
            inputs.append(each)
            return self._key(each)

        signature = (signature_of(node.target), key_of((args, kwargs), Node, type_of))
        # Without modules and origins, litert-torch gives tensors other names, and errors name no line.
        if "from_node" not in node.meta:
            node.meta["from_node"] = [NodeSource(node)]
        inherited = {"nn_module_stack": {}} | {
            field: node.meta[field] for field in _INHERITED if field in node.meta
        }
        if self._stays(node, inputs):
            same = self.graph.create_node("call_function", node.target, args, kwargs, name=node.name)
            same.meta = inherited | {
                "val": node.meta["val"],
                "tensor_meta": node.meta.get("tensor_meta") or _extract_tensor_metadata(node.meta["val"]),
            }
            return same
        template = self.templates.get(signature) if signature[0] else None
        if template is None:
            template = self._trace(node.target, args, kwargs)
            if signature[0] and not any(each.target is _MARK for each in template.nodes):
                self.templates[signature] = template
        steps = [each for each in template.nodes if each.op == "call_function"]
        if len(steps) == 1:
            steps[0].name = node.name  # an operator that stays one keeps it, by which an explanation finds it
        copies = dict(zip(template.find_nodes(op="placeholder"), inputs, strict=True))
        result = self.graph.graph_copy(template, copies)
        for step in steps:
            copies[step].meta = inherited | step.meta
        return result

    def _stays(self, node: Node, inputs: list[Node]) -> bool:
        """Whether nothing decomposes the node, and its inputs are what they were."""
        target = node.target
        return (
            isinstance(target, torch._ops.OpOverload)
            and target not in self.prepared.decompositions
            # A kernel for `Meta` computes shapes; others may decompose.
            and target.py_kernels.keys() <= {torch._C.DispatchKey.Meta}
            and not target._can_decompose()
            and isinstance(node.meta.get("val"), FakeTensor)
            # Passes of litert-torch add nodes without values.
            and all("val" in each.meta for each in node.all_input_nodes)
            and [self._key(each) for each in node.all_input_nodes]
            == [self._key(each) for each in dict.fromkeys(inputs)]
        )

    def _trace(self, target: Any, args: Any, kwargs: Any) -> Graph:
        """Return the graph that operators of a signature become; its inputs are the nodes among arguments."""
        template, tracer = Graph(), self.tracer
        copies: dict[Node, Node] = {}

        def tracked(node: Node) -> torch.Tensor:
            """Return a tensor of its own for each input, even where two have the same value."""
            value = node.meta["val"]
            # A product of a parameter is another one in torch's decomposition.
            tensor = proxy_tensor.snapshot_fake(value).requires_grad_(value.requires_grad)
            proxy = tracer.create_proxy("call_function", _input, (), {})
            proxy_tensor.track_tensor(tensor, proxy, constant=None, tracer=tracer)
            copies[proxy.node] = template.placeholder("x")
            copies[proxy.node].meta["val"] = tensor
            return tensor

        fake_args, fake_kwargs = map_arg((args, kwargs), tracked)
        known = len(tracer.graph.nodes)
        result = target(*fake_args, **fake_kwargs)
        for node in list(tracer.graph.nodes)[known:]:
            if node.op != "call_function":
                raise LeftToTorch(f"{target} makes a {node.op}")
            require_verified(node.target)
            copies[node] = template.node_copy(node, copies.__getitem__)
            copies[node].meta = {
                field: node.meta[field] for field in ("val", "tensor_meta") if field in node.meta
            }

        def of_result(each: Any) -> Any:
            if not isinstance(each, torch.Tensor):
                return each
            return copies[proxy_tensor.get_proxy_slot(each, tracer).proxy.node]

        template.output(map_aggregate(result, of_result))
        # As torch does: what works on memory that is shared, such as circular padding, is left to it.
        without_in_place(template, _type_of)
        return template

    def _key(self, node: Node) -> Hashable:
        """Return the type of a node's value in this program, whose nodes keep their values."""
        value = node.meta["val"]
        if id(value) not in self.keys:
            self.keys[id(value)] = _type_of(node)
        return self.keys[id(value)]

    def _program(self) -> ExportedProgram:
        """Return the program with the new graph."""
        signature = with_results(self.program.graph_signature, self.graph.output_node().args[0])
        self.graph.eliminate_dead_code()
        module = GraphModule(self.program.graph_module, self.graph)
        module.meta.update(self.program.graph_module.meta)
        program = copy.copy(self.program)
        program._graph_module = module
        program._graph_signature = signature
        return program


def _type_of(node: Node) -> Hashable:
    """Return shape, strides, type and device of a node's value, and whether it is a parameter."""
    value = node.meta["val"]
    if not isinstance(value, FakeTensor) or not all(isinstance(size, int) for size in value.shape):
        raise LeftToTorch(f"{node.name} is no tensor of known size")
    return (
        tuple(value.shape), value.stride(), value.storage_offset(), value.dtype, value.device,
        value.requires_grad,
    )  # fmt: skip


_MARK = torch.ops.litert_torch.mark_tensor.default


def _input() -> None:
    """Stand in for an input of a template in the tracer's graph."""


def _require_plain(signature: ExportGraphSignature) -> None:
    kinds = {spec.kind for spec in (*signature.input_specs, *signature.output_specs)}
    if unknown := kinds - _PLAIN_INPUTS - {OutputKind.USER_OUTPUT}:
        raise LeftToTorch(f"inputs or outputs of kinds {unknown}")
