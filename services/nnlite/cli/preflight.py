"""`nnlite preflight`: lists every operator of a network that cannot be converted, without converting it."""

from typing import Annotated, Any

import typer

from nnlite.campaigns.request import Request
from nnlite.cli.actions.session import interruptible
from nnlite.cli.parsing import selection
from nnlite.cli.presenting.output import count, err, out, print_json, print_table
from nnlite.cli.workers import check_installed
from nnlite.diagnostics.single_job import answer_of, job_of
from nnlite.settings import load_settings
from nnlite.vocabulary import Precision

app = typer.Typer()

COLUMNS = ("line", "operator", "reason")


@app.command("preflight")
@selection.model_options
def preflight(
    *,
    request: Request,
    json: Annotated[bool, typer.Option("--json", help="A JSON array with one object.")] = False,
) -> None:
    """List, in seconds, every operator of a network that cannot be converted, with its line and a remedy.

    The network is loaded and exported in the sandbox of a conversion, and each operator is lowered by itself:
    all that fail are listed at once, and those that are random, have no kernel in LiteRT, need 64-bit
    integers or compute in bfloat16. Parity and int8 show in a conversion only. Nothing is
    converted or stored. Exit code 1 if there is any problem.

    Examples:

    - `nnlite preflight MobileNetV3`
    - `nnlite preflight net.py --source files --path net.py --input 1x3x224x224`
    """
    check_installed("nnlite_conversion", "convert")
    settings = load_settings()
    with interruptible("stopped"), err.status(f"trying the operators of {request.models[0]}"):
        model, source = selection.resolve_one(request, settings)
        report = answer_of("preflight", job_of(model, source, Precision.FP32, settings))
    if json:
        print_json([{"model": model.name, **report}])
    else:
        _print(model.name, report)
    if report["problems"]:
        raise typer.Exit(1)


def _print(name: str, report: dict[str, Any]) -> None:
    problems = report["problems"]
    if not problems:
        out.print(f"{name}: no problem in {count(report['operators'], 'operator')}", highlight=False)
        return
    print_table(map(_row, problems), COLUMNS, f"{name}: {count(len(problems), 'problem')}")


def _row(problem: dict[str, Any]) -> dict[str, Any]:
    number = f" ({problem['count']} times)" if problem["count"] > 1 else ""
    remedy = f"; {problem['remedy']}" if problem["remedy"] else ""
    return problem | {
        "operator": f"{problem['called'] or problem['operator'] or ''}{number}",
        "reason": f"{problem['cause']}{remedy}",
    }
