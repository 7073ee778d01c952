"""`nnlite doctor`: prints what this machine can do, what is missing, and what to do about it."""

from typing import Annotated

import typer

from nnlite.cli import options
from nnlite.cli.output import out, print_json, print_table
from nnlite.diagnostics.compose_env import Machine, compose_env
from nnlite.diagnostics.machine import all_findings
from nnlite.settings import Settings, load_settings, setting_names

app = typer.Typer()


@app.command()
def doctor(
    as_json: options.Json = False,
    settings_too: Annotated[
        bool, typer.Option("--settings", help="List every setting with its value instead.")
    ] = False,
    for_compose: Annotated[
        bool, typer.Option("--compose-env", help="Print what fits this machine as lines for compose's .env.")
    ] = False,
) -> None:
    """Say what this machine can do and what is missing; exit code 1 if something needed is."""
    settings = load_settings()
    if settings_too:
        rows = [{"setting": name, "value": _value(settings, name)} for name in setting_names()]
        print_json(rows) if as_json else print_table(rows, ("setting", "value"))
        return
    if for_compose:
        for line in compose_env(Machine.this(settings)):
            out.print(line, highlight=False, soft_wrap=True)
        return
    findings = list(all_findings(settings))
    rows = [vars(finding) for finding in findings]
    print_json(rows) if as_json else print_table(rows, ("subject", "state", "message"))
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)


def _value(settings: Settings, name: str) -> str:
    value: object = settings
    for part in name.removeprefix("NNLITE_").lower().split("__"):
        value = getattr(value, part)
    secret = value is not None and name in {"NNLITE_DATABASE_URL", "NNLITE_BROKER_URL"}
    return "(set)" if secret else str(value)
