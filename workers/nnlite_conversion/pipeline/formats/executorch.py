"""ExecuTorch: exports a network, lowered to XNNPACK, and runs the file in its runtime; a `Format`.

No rewrite is needed: what XNNPACK does not take is left to ExecuTorch's own kernels, which know ATen's
operators.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nnlite.artifacts.executorch import NUMPY_TYPES
from nnlite.errors import Failure, FailureClass
from nnlite.vocabulary import Stage
from nnlite_conversion.explanations import explained
from nnlite_conversion.outcome import TensorSpec
from nnlite_conversion.pipeline.loading.load import Loaded


def export(program: torch.export.ExportedProgram, loaded: Loaded, path: Path) -> None:
    """Write the network as a `.pte` file; see `Format`."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
    from executorch.exir.passes import MemoryPlanningPass

    # An input in planned memory is overwritten by a run, so that the next one would compute something else.
    planning = MemoryPlanningPass(alloc_graph_input=False)
    try:
        _copy_returned_inputs(program)
        with torch.no_grad():
            edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
            made = edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning))
        with path.open("wb") as file:
            made.write_to_file(file)
    except (Exception, SystemExit) as error:
        raise explained(Stage.EXPORT, error, "the exporter of ExecuTorch fails") from error
    kernels = set(_runtime()._get_operator_names())
    if missing := sorted(operators(path).keys() - kernels - set(_runtime()._get_registered_backend_names())):
        reason = f"ExecuTorch has no kernel for {', '.join(missing)}"
        raise Failure(FailureClass.MODEL, Stage.EXPORT, reason, {"operator": missing[0].replace("::", ".")})


class ExecutorchArtifact:
    """A `.pte` file opened in ExecuTorch.

    Raises:
        RuntimeError: the runtime refuses it, here or when it runs.
    """

    def __init__(self, path: Path, threads: int) -> None:
        runtime = _runtime()
        runtime._unsafe_reset_threadpool(threads)
        self._program = runtime._load_program(
            str(path), program_verification=runtime.Verification.InternalConsistency
        )
        self._method = self._program.load_method("forward")
        known = self._method.method_meta()
        self.inputs = tuple(
            _spec(f"args_{index}", known.input_tensor_meta(index)) for index in range(known.num_inputs())
        )
        self.outputs = tuple(
            _spec(f"output_{index}", known.output_tensor_meta(index)) for index in range(known.num_outputs())
        )

    def run(self, inputs: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """Return the outputs."""
        tensors = [
            torch.from_numpy(np.array(value, spec.dtype, order="C"))
            for spec, value in zip(self.inputs, inputs, strict=True)
        ]
        self._method.set_inputs(tensors)
        self._method.execute()
        # NumPy would give a scalar an axis.
        return tuple(output.contiguous().numpy() for output in self._method.get_outputs(clone_outputs=True))

    @staticmethod
    def reals(tensors: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """Return outputs as they are: nothing is quantized."""
        return tuple(tensors)


def operators(path: Path) -> dict[str, int]:
    """Count the operators of the file by name; each part that XNNPACK executes is one."""
    from executorch.exir._serialize._program import deserialize_pte_binary
    from executorch.exir.schema import DelegateCall, KernelCall

    (plan,) = deserialize_pte_binary(path.read_bytes()).program.execution_plan
    found: Counter[str] = Counter()
    for call in (each.instr_args for chain in plan.chains for each in chain.instructions):
        if isinstance(call, KernelCall):
            operator = plan.operators[call.op_index]
            found[".".join(filter(None, (operator.name, operator.overload)))] += 1
        elif isinstance(call, DelegateCall):
            found[plan.delegates[call.delegate_index].id] += 1
    return dict(sorted(found.items()))


def _copy_returned_inputs(program: torch.export.ExportedProgram) -> None:
    """Return copies of inputs that the network returns: an output's memory would take the input's place."""
    graph, signature = program.graph, program.graph_signature
    output = graph.output_node()
    for node in output.all_input_nodes:
        if node.name in signature.user_inputs:
            with graph.inserting_before(output):
                copy = graph.call_function(torch.ops.aten.clone.default, (node,))
            copy.meta = dict(node.meta)
            output.replace_input_with(node, copy)
            signature.replace_all_uses(node.name, copy.name)
    program.graph_module.recompile()


def _runtime() -> Any:
    """Return the runtime's binding; its public module would print that it is experimental."""
    from executorch.extension.pybindings import _C

    return _C


def _spec(name: str, tensor: Any) -> TensorSpec:
    if tensor.dtype() not in NUMPY_TYPES:
        raise RuntimeError(f"{name} is of type {tensor.dtype()}, which no input or output may be")
    return TensorSpec(name=name, shape=tuple(map(int, tensor.sizes())), dtype=NUMPY_TYPES[tensor.dtype()])
