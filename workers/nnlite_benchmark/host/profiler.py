"""The profiling process: runs one artifact with LiteRT's profiler on, writes its operators and exits.

`python -m nnlite_benchmark.host.profiler REQUEST.json`, with the same request and the same lines at each
stage as `nnlite_benchmark.host.runner`, whose timed runs have no profiler. Failures here are none of them.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from nnlite.host.fork import die_with_parent
from nnlite.vocabulary import Stage
from nnlite_benchmark.host.graph_delegation import DELEGATE, Node
from nnlite_benchmark.host.litert_profiler import ProfiledModel
from nnlite_benchmark.host.operators import Inference, ProfileError, inference_of, with_nodes
from nnlite_benchmark.host.runner import REPORT_FILE, RunRequest, start
from nnlite_benchmark.protocol.runs import timed_runs, warm_up


def profile(request: RunRequest, channel: TextIO) -> dict[str, Any]:
    """Return the fields of a `Profile`; an artifact that cannot be profiled has an error in it."""
    try:
        return _profile(request, channel)
    except (ProfileError, ValueError, RuntimeError) as error:
        return {"error": str(error)[:10_000] or type(error).__name__}


def _profile(request: RunRequest, channel: TextIO) -> dict[str, Any]:
    first_ns = 0

    def enter(stage: Stage) -> None:
        channel.write(f"{stage.value} {first_ns}\n")
        channel.flush()

    enter(Stage.INITIALIZE)
    graph, positions, outputs = _graph(request)
    model = ProfiledModel(request.artifact, request.threads)
    files = [Path(request.inputs[positions[name]]) for name in model.input_names()]
    model.set_inputs([file.read_bytes() for file in files])
    before_ns = time.perf_counter_ns()
    model.run()
    first_ns = time.perf_counter_ns() - before_ns
    enter(Stage.WARM_UP)
    warm_up(model.run, time.perf_counter_ns, request.bounds)
    enter(Stage.RUN)
    inferences: list[Inference] = []
    timed_runs(lambda: inferences.append(inference_of(model.profile())), time.perf_counter_ns, request.bounds)
    return summary(inferences, graph, outputs)


def summary(inferences: Sequence[Inference], graph: Sequence[Node], outputs: Sequence[str]) -> dict[str, Any]:
    """Return the mean times of the faster half of the inferences, so that what interrupts some is left out.

    Args:
        graph: nodes of a delegated interpreter.
        outputs: name of the first output of each node of the artifact.

    Raises:
        ProfileError: the inferences have different operators.
    """
    operators = inferences[0].operators
    if any(inference.operators != operators for inference in inferences):
        raise ProfileError("the operators differ from inference to inference")
    fast = sorted(inferences, key=lambda inference: inference.time_us)[: (len(inferences) + 1) // 2]
    times_ns = [
        round(sum(times) * 1000 / len(fast))
        for times in zip(*(inference.times_us for inference in fast), strict=True)
    ]
    total_ns = sum(times_ns)
    return {
        "runs": len(fast),
        "inference_ns": round(sum(inference.time_us for inference in fast) * 1000 / len(fast)),
        "operators": [
            {
                "index": index,
                "name": operator.name[:300],
                "delegate": operator.delegate,
                "node": operator.node,
                "type": None if operator.node is None else graph[operator.node].name,
                "output": None if operator.node is None else outputs[operator.node],
                "time_ns": time_ns,
                "share": time_ns / total_ns if total_ns else 0.0,
            }
            for index, (operator, time_ns) in enumerate(
                zip(with_nodes(operators, graph), times_ns, strict=True)
            )
        ],
    }


def _graph(request: RunRequest) -> tuple[list[Node], dict[str, int], list[str]]:
    """Return the artifact's nodes, the position of each named input, and each node's first output by name."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=request.artifact, num_threads=request.threads)
    interpreter.allocate_tensors()
    details = interpreter._get_ops_details()
    graph = [
        Node(name=op["op_name"], inputs=_numbers(op["inputs"]), outputs=_numbers(op["outputs"]))
        for op in details
    ]
    names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
    outputs = [
        str(names.get(node.outputs[0], "")) if node.outputs else "" for node in graph if node.name != DELEGATE
    ]
    order = [tensor["index"] for tensor in interpreter.get_input_details()]
    positions = {tensor["name"]: number for number, tensor in enumerate(interpreter.get_input_details())}
    for signature in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(signature)
        for name, tensor in runner.get_input_details().items():
            positions[name] = order.index(tensor["index"])
    return graph, positions, outputs


def _numbers(tensors: Any) -> list[int]:
    return [int(index) for index in tensors]


def main() -> None:
    """Profile the request that the first argument names."""
    request = RunRequest.from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    die_with_parent(lambda: os.getppid() != request.parent_pid)
    content = profile(request, start(request))
    Path(request.folder, REPORT_FILE).write_text(json.dumps(content), encoding="utf-8")
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
