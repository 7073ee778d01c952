"""`nnlite explain-parity`: shows the first operator at which an artifact departs from PyTorch."""

from typing import Annotated, Any

import typer

from nnlite.campaigns.request import Request
from nnlite.campaigns.sample_choice import named_calibration
from nnlite.cli.actions.session import interruptible
from nnlite.cli.parsing import options, selection
from nnlite.cli.presenting.output import err, print_json, print_table, say
from nnlite.cli.workers import check_installed
from nnlite.diagnostics.single_job import explain_parity
from nnlite.settings import load_settings
from nnlite.vocabulary import Precision, StepState

app = typer.Typer()

COLUMNS = ("#", "operator", "module", "artifact", "SQNR dB", "own dB")
OPTIONAL = ("module",)
#: Operators shown before and after the one that departs.
AROUND = 3
#: Operators shown that lose most by themselves.
MOST_LOST = 10


@app.command("explain-parity")
@selection.model_options
def explain(
    *,
    request: Request,
    precision: Annotated[Precision, typer.Option(help="Numeric format of the artifact.")] = Precision.FP32,
    calibration: options.Calibration = None,
    every: Annotated[bool, typer.Option("--all", help="Show every operator of the network.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Everything, as a JSON array with one object.")
    ] = False,
) -> None:
    """Show where an artifact departs from PyTorch: the first operator whose result is off.

    The model is converted again, in the sandbox of a conversion, and both run on the same input, operator by
    operator. "SQNR dB" compares the results (higher is better, 200: equal), "own dB" is what an operator
    loses by itself, "fused" is computed together with a later operator.

    Examples:

    - `nnlite explain-parity MobileNetV3 --precision int8`
    - `nnlite explain-parity net.py --source files --path net.py --input 1x3x224x224 --all`
    """
    check_installed("nnlite_conversion", "convert")
    settings = load_settings()
    data, data_source = named_calibration(calibration, (precision,), settings)
    with (
        interruptible("stopped"),
        err.status(f"converting {request.models[0]} to {precision}, operator by operator"),
    ):
        model, source = selection.resolve_one(request, settings)
        explanation = explain_parity(
            model, source, precision, settings, calibration=data, calibration_source=data_source
        )
    if json:
        print_json([{"model": model.name, **explanation}])
        return
    _print(model.name, explanation, every=every)


def _print(name: str, explanation: dict[str, Any], *, every: bool) -> None:
    steps, departs = explanation["steps"], explanation["departs"]
    title = f"{name}, {explanation['precision']}"
    if departs is None:
        say(f"{title}: every operator is right")
    else:
        step = steps[departs]
        say(f"{title}: departs at operator {departs}, {step['operator']}")
        say(f"  line    {step['line'] or 'not known'}")
        say(f"  module  {step['module'] or 'the network itself'}")
        say(f"  reason  {step['reason']}")
    if explanation["note"]:
        say(f"note: {explanation['note']}")
    if every:
        print_table(map(_row, steps), COLUMNS, optional=OPTIONAL)
        return
    if departs is not None:
        print_table(
            map(_row, steps[max(0, departs - AROUND) : departs + AROUND + 1]), COLUMNS, "around it", OPTIONAL
        )
    if explanation["precision"] != Precision.FP32:
        known = [step for step in steps if step["own_sqnr_db"] is not None]
        most = sorted(known, key=lambda step: step["own_sqnr_db"])[:MOST_LOST]
        print_table(map(_row, most), COLUMNS, "lose most by themselves", OPTIONAL)


def _row(step: dict[str, Any]) -> dict[str, Any]:
    return step | {
        "#": step["index"],
        "artifact": step["artifact_operator"] or StepState.FUSED.value,
        "SQNR dB": None if step["sqnr_db"] is None else f"{step['sqnr_db']:.1f}",
        "own dB": None if step["own_sqnr_db"] is None else f"{step['own_sqnr_db']:.1f}",
    }
