"""Finds every operator of a network that is not lowered, random or comes out wrong, without converting it.

Runs in the forked child only, in its private folder.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from nnlite.errors import Failure
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import Stage
from nnlite_conversion import explanations
from nnlite_conversion.culprit import Culprit, culprit_in_graph, follows_from_size, operator_of
from nnlite_conversion.explanations import explained, summary
from nnlite_conversion.export_errors import is_by_value, of_export, of_values
from nnlite_conversion.messages import Preflight
from nnlite_conversion.outcome import ConversionJob
from nnlite_conversion.pipeline import stages
from nnlite_conversion.pipeline.loading.load import (
    WEIGHTS_SEED,
    Loaded,
    load,
    restore,
    seed_everything,
)
from nnlite_conversion.pipeline.lowering import lower as lowering
from nnlite_conversion.pipeline.lowering import stand_ins
from nnlite_conversion.pipeline.lowering.dry_run import unsupported_nodes
from nnlite_conversion.pipeline.lowering.rewrites.ranks import too_many_dimensions
from nnlite_conversion.pipeline.repeating import why_outputs_vary
from nnlite_conversion.pipeline.verifying.integers import Needs64Bits
from nnlite_conversion.remedies import (
    Explanation,
    OperatorProblem,
    as_problem,
    in_bfloat16,
    is_random,
    of_many_dimensions,
    problem,
    unsupported,
)

#: Most branches on values that are passed by.
MAX_BRANCHES = 20
#: Operators that only change the type.
_CASTS = re.compile(r"aten\.(_?to|_to_copy|type_as)\.")
#: Operators that compute with sizes and check them.
_SIZES = re.compile(r"operator\.|math\.|aten\.(_assert_scalar|sym_\w+)\.")


def preflight_model(
    job: ConversionJob, settings: ConversionSettings, enter: Callable[[Stage], None]
) -> Preflight:
    """Load and export the network, and try every operator by itself.

    Raises:
        Failure: class `model`: it cannot be loaded, which no list of operators can follow.
        ModelSkipped: it exceeds a limit.
    """
    enter(Stage.LOAD)
    loaded, _ = load(job, Path.cwd())
    enter(Stage.EXPORT)
    found: list[OperatorProblem] = []
    try:
        program = stages.export(loaded).program
    except Failure as failure:
        exported, found = exported_behind(loaded, failure)
        if exported is None:
            return Preflight(problems=tuple(_counted([*found, *_of_64_bits(loaded)])))
        program = exported
    has_integers = lowering.has_integers(program)
    wrong = [*(_of_64_bits(loaded) if has_integers else ()), *_rounded(program.graph.nodes)]
    enter(Stage.LOWER)
    try:
        with torch.no_grad():
            program = lowering.decomposed(program)
            nodes = [node for node in program.graph.nodes if node.op == "call_function"]
            failing = unsupported_nodes(program)
    except (Exception, SystemExit) as error:
        stopped = explained(Stage.LOWER, error, explanations.of_lowering(error))
        if not found or not isinstance(stopped, Failure):
            raise stopped from error
        return Preflight(problems=tuple(_counted([*found, as_problem(stopped), *wrong])))
    failures = list(_failures(failing))
    lines = {(each.line, each.operator) for each in found}
    listed = [*failures, *_of_many_dimensions(program), *_random(nodes, failures)]
    problems = [each for each in listed if (each.line, each.operator) not in lines]
    problems = [*found, *problems, *wrong]
    if not any(is_random(str(each.operator)) for each in problems):
        problems += _varying(loaded, job.seed)
    return Preflight(problems=tuple(_counted(problems)), operators=len(nodes))


def exported_behind(
    loaded: Loaded, failure: Failure
) -> tuple[torch.export.ExportedProgram | None, list[OperatorProblem]]:
    """Export a network past what cannot be traced; return the graph, if there is one, and what stops it.

    Args:
        loaded: the network.
        failure: why it cannot be exported.
    """
    recording, lines = stand_ins.Recording(), set[tuple[str, int]]()
    seed_everything(WEIGHTS_SEED)
    try:
        with torch.no_grad(), recording:
            loaded.module(*loaded.tensors)
    except Exception:  # noqa: BLE001  (code that does not bear being watched)
        return None, [as_problem(failure)]
    restore(loaded.module, loaded.changing)
    while True:
        mode = stand_ins.StandIns(recording.results, lines)
        behind = replace(loaded, module=stand_ins.Behind(loaded.module, mode))
        seed_everything(WEIGHTS_SEED)
        try:
            program = stages.export(behind, stand_ins.drop_unused).program
        except Failure as again:
            line = stand_ins.branch_of(again)
            if line is not None and line not in lines and len(lines) < MAX_BRANCHES:
                lines.add(line)
                continue
            found = _replaced(mode)
            last = as_problem(again if found else failure)
            return None, found if any(each.line == last.line for each in found) else [*found, last]
        return program, _replaced(mode) or [as_problem(failure)]


def _replaced(mode: stand_ins.StandIns) -> list[OperatorProblem]:
    """Return the problems of the calls whose results were replaced."""
    return [problem(each.culprit, _why(each), Stage.EXPORT) for each in mode.replaced]


def _why(call: stand_ins.Replaced) -> Explanation:
    """Return why a call cannot be traced."""
    if call.error is not None and call.is_branch:
        return of_values(call.error, call.culprit)
    if call.error is None or is_by_value(call.error):
        return unsupported(call.culprit)
    reason = of_export(call.error)
    return (
        reason if isinstance(reason, Explanation) else Explanation(cause=f"{reason}: {summary(call.error)}")
    )


def _failures(failing: list[torch.fx.Node]) -> Iterator[OperatorProblem]:
    """Yield the problems of operators; those on sizes only follow from others, where there are others.

    A call that becomes several operators, as `torch.linalg.inv` does, is named by the first.
    """
    named: dict[tuple[str | None, ...], str | None] = {}
    of_tensors = [
        node
        for node in failing
        if not (_SIZES.match(operator_of(node)) or follows_from_size(node) or _takes_number(node))
    ]
    for node in of_tensors or failing:
        culprit = culprit_in_graph(node)
        found = problem(culprit, unsupported(culprit), Stage.LOWER)
        first = named.setdefault((found.called, found.line, found.remedy), found.operator)
        if found.called is None or first == found.operator:
            yield found


def _takes_number(node: torch.fx.Node) -> bool:
    """Whether a node takes a number that depends on the input's values."""
    symbols = torch.SymInt | torch.SymFloat | torch.SymBool
    return any(isinstance(each.meta.get("val"), symbols) for each in node.all_input_nodes)


def _of_many_dimensions(program: torch.export.ExportedProgram) -> Iterator[OperatorProblem]:
    """Yield the operators whose tensors have more dimensions than LiteRT takes."""
    for node in too_many_dimensions(program.graph):
        culprit = culprit_in_graph(node)
        yield problem(culprit, of_many_dimensions(str(culprit.operator)), Stage.LOWER)


def _random(nodes: Iterable[torch.fx.Node], failures: list[OperatorProblem]) -> Iterator[OperatorProblem]:
    """Yield the random operators that could be lowered, one for a line."""
    listed = {each.operator for each in failures}
    lines = {each.line for each in failures if is_random(str(each.operator))}
    for node in nodes:
        operator = operator_of(node)
        if operator in listed or not is_random(operator):
            continue
        culprit = culprit_in_graph(node)
        found = problem(culprit, unsupported(culprit), Stage.LOWER)
        if found.line not in lines:
            yield found


def _of_64_bits(loaded: Loaded) -> Iterator[OperatorProblem]:
    """Yield the first operator whose integers 32 bits do not hold."""
    try:
        _ = loaded.integer_ranges
    except Needs64Bits as failure:
        yield as_problem(failure)


def _varying(loaded: Loaded, seed: int) -> Iterator[OperatorProblem]:
    """Yield why PyTorch itself gives other outputs for the same input, so that artifacts are off."""
    if found := why_outputs_vary(loaded, seed):
        yield problem(Culprit(line=found.line), found.why, Stage.PARITY)


def _rounded(nodes: Iterable[torch.fx.Node]) -> Iterator[OperatorProblem]:
    """Yield the first operator of each line that computes in bfloat16, as whose artifact parity is off."""
    lines = set()
    for node in nodes:
        value = node.meta.get("val")
        is_rounded = isinstance(value, torch.Tensor) and value.dtype is torch.bfloat16
        if node.op != "call_function" or not is_rounded or _CASTS.match(operator_of(node)):
            continue
        culprit = culprit_in_graph(node)
        found = problem(culprit, in_bfloat16(str(culprit.operator)), Stage.LOWER)
        if found.line not in lines:
            lines.add(found.line)
            yield found


def _counted(problems: Iterable[OperatorProblem]) -> Iterator[OperatorProblem]:
    for each, count in Counter(problems).items():
        yield replace(each, count=count)
