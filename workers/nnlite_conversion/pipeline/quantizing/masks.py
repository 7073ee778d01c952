"""Gives masks of attention a value that integers hold next to the scores.

A mask is a constant, such as `-inf`, that is added to scores, or chosen instead of some, before a softmax.
With it in their range the steps of integers are so large that all scores are equal, and LiteRT aborts on the
largest. What is far enough below the scores has no share either.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlite_conversion.pipeline.quantizing.safeguards import is_constant, name_of, operators_of
from nnlite_conversion.pipeline.verifying.judging import MAX_ROUNDED

#: LiteRT aborts on sums with such masks in integers. The converter writes `-inf` as the smallest number.
_HUGE = 1e36
#: Distance of a mask from the smallest score: of a share of exp(-10) nothing is left in steps of 1/256.
_MARGIN = 10.0
#: Do not change values.
_MOVES = frozenset({"BROADCAST_TO", "EXPAND_DIMS", "RESHAPE", "SQUEEZE", "TRANSPOSE"})
_CHOICES = frozenset({"SELECT", "SELECT_V2"})


def with_finite_masks(model: Any, ranges: Mapping[str, Any], *, only_huge: bool) -> dict[str, Any]:
    """Return `ranges` in which added masks are as little below the scores as a softmax needs.

    Where they are chosen, ranges become infinite, so that choice and softmax stay in floats: a choice is made
    in the steps of the mask itself. Where a constant is infinite in the file they stay in floats anyway.

    Args:
        model: the fp32 artifact, as the quantizer reads it.
        ranges: of activations, from the calibration, by name.
        only_huge: leave masks as they are that LiteRT runs, right or not.
    """
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    found = dict(ranges)
    to_softmax = _ways_to_softmax(model)
    for graph, operator, kind in operators_of(model):
        if kind != "ADD" and (only_huge or kind not in _CHOICES):
            continue
        terms = [graph.tensors[each] for each in operator.inputs[-2:]]
        masks = [each for each in terms if is_constant(model, each)]
        scores = [ranges.get(name_of(each), {}) for each in terms if not is_constant(model, each)]
        way = to_softmax(graph.tensors[operator.outputs[0]])
        if len(masks) != 1 or not way or "min" not in scores[0]:
            continue
        values = tfl_flatbuffer_utils.get_tensor_data(masks[0], model.buffers)
        if not -np.inf < values.min() <= -(_HUGE if only_huge else MAX_ROUNDED):
            continue
        lowest, highest = _sum(scores[0], values[values > -MAX_ROUNDED])
        if kind == "ADD":
            lowest -= _MARGIN
            # Of several sums with one mask the widest decides.
            name, distance = name_of(masks[0]), np.full((1,) * values.ndim, lowest - highest, np.float32)
            known = found.get(name, {"min": distance})["min"]
            most = np.full_like(distance, max(0.0, values.max()))
            found[name] = {"min": np.minimum(distance, known), "max": most}
        else:
            lowest = -np.inf
        found |= {name_of(each): {"min": np.array([lowest]), "max": np.array([highest])} for each in way}
    return found


def _sum(range_: Any, added: NDArray[np.float32]) -> tuple[float, float]:
    """Return the ends of a range to whose values others, or none, are added."""
    low, high = float(np.min(range_["min"])), float(np.max(range_["max"]))
    return low + min(0.0, float(added.min(initial=0.0))), high + max(0.0, float(added.max(initial=0.0)))


def _ways_to_softmax(model: Any) -> Callable[[Any], list[Any]]:
    """Return what gives the tensors on the ways of one to softmaxes; none: it is used for something else."""
    users = defaultdict(list)
    for graph, operator, kind in operators_of(model):
        for each in {*operator.inputs} - {-1}:
            users[id(graph.tensors[each])].append((kind, graph.tensors[operator.outputs[0]]))

    def ways(tensor: Any) -> list[Any]:
        found = [tensor]
        for kind, result in users[id(tensor)]:
            further = ways(result) if kind in _MOVES else []
            if kind != "SOFTMAX" and not further:
                return []
            found += further
        return found if users[id(tensor)] else []

    return ways
