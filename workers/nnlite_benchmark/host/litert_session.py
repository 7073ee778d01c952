"""LiteRT on a host's CPU, with XNNPACK or without: a `Session`."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from ai_edge_litert.interpreter import Interpreter, OpResolverType

from nnlite.vocabulary import Backend
from nnlite_benchmark.host.graph_delegation import Node, count_delegated, undelegated
from nnlite_benchmark.host.sessions import OutputTensor, Refused, SessionRequest, accepted, read_input


def open_session(asked: SessionRequest) -> "LiteRtSession":
    """Return the session for an artifact; nothing is read yet."""
    return LiteRtSession(asked.artifact, asked.threads, xnnpack=asked.backend is Backend.CPU)


class LiteRtSession:
    """A `.tflite` file in LiteRT."""

    version = None

    def __init__(self, artifact: str, threads: int, *, xnnpack: bool = True) -> None:
        self._artifact, self._threads, self._xnnpack = artifact, threads, xnnpack
        self._interpreter: Any = None

    def load(self) -> None:
        """See `Session`."""
        kernels = OpResolverType.AUTO if self._xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self._interpreter = accepted(
            lambda: Interpreter(
                model_path=self._artifact, num_threads=self._threads, experimental_op_resolver_type=kernels
            )
        )

    def prepare(self) -> None:
        """See `Session`."""
        accepted(self._interpreter.allocate_tensors)

    def fill(self, inputs: Sequence[str], sample: int = 0, samples: int = 1) -> None:
        """See `Session`."""
        details = self._interpreter.get_input_details()
        if len(details) != len(inputs):
            raise Refused(f"the artifact has {len(details)} inputs, {len(inputs)} were given")
        for detail, file in zip(details, inputs, strict=True):
            shape = tuple(int(size) for size in detail["shape"])
            value = read_input(detail["name"], file, detail["dtype"], shape, sample=sample, samples=samples)
            accepted(partial(self._interpreter.set_tensor, detail["index"], value))

    @property
    def invoke(self) -> Callable[[], object]:
        """See `Session`."""
        invoke: Callable[[], object] = self._interpreter.invoke
        return invoke

    def delegation(self) -> dict[str, Any] | None:
        """See `Session`."""
        if not self._xnnpack:
            return None
        count = count_delegated(self._nodes())
        return {
            "delegate": "TfLiteXNNPackDelegate",
            "delegated_nodes": count.delegated,
            "total_nodes": count.total,
            "partitions": count.groups if count.delegated == count.total else None,
            "counted_from": "graph",
        }

    def refusals(self) -> list[dict[str, Any]]:
        """See `Session`; XNNPACK does not say why."""
        left = undelegated(self._nodes()) if self._xnnpack else {}
        return [{"operator": name, "nodes": number} for name, number in sorted(left.items())]

    def outputs(self) -> Iterator[OutputTensor]:
        """See `Session`."""
        for detail in self._interpreter.get_output_details():
            value = accepted(partial(self._interpreter.get_tensor, detail["index"]))
            scale, zero_point = detail["quantization"]
            quantized = (float(scale), int(zero_point)) if scale else (None, None)
            yield OutputTensor(detail["name"], value, *quantized)

    def _nodes(self) -> Iterator[Node]:
        for op in self._interpreter._get_ops_details():
            yield Node(name=op["op_name"], inputs=_indices(op["inputs"]), outputs=_indices(op["outputs"]))


def _indices(tensors: Any) -> list[int]:
    return [int(index) for index in tensors]
