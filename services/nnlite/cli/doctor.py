"""`nnlite doctor`: prints what this machine can do, what is missing, and what to do about it."""

from typing import Annotated

import orjson
import typer

from nnlite.cli.parsing import options
from nnlite.cli.presenting.output import out, paged, print_json, print_table
from nnlite.settings import PREFIX, Settings, all_settings, load_settings, origins
from nnlite.settings.passwords import SECRET

app = typer.Typer()
_SETTING_COLUMNS = ("setting", "value", "default", "origin", "description")


@app.command()
def doctor(
    as_json: options.Json = False,
    wide: options.Wide = False,
    settings_too: Annotated[
        bool, typer.Option("--settings", help="List every setting instead: value, default, origin, meaning.")
    ] = False,
    for_compose: Annotated[
        bool, typer.Option("--compose-env", help="Print what fits this machine as lines for compose's .env.")
    ] = False,
) -> None:
    """Say what this machine can do and what is missing; exit code 1 if something needed is."""
    settings = load_settings()
    if settings_too:
        rows = _setting_rows(settings)
        if as_json:
            print_json(rows)
        else:
            with paged(wide=wide):
                print_table(rows, _SETTING_COLUMNS, optional=("default", "origin"), wide=wide)
        return
    if for_compose:
        import psutil

        from nnlite.diagnostics.compose_env import compose_env
        from nnlite.host.cores import cores_of

        for line in compose_env(cores_of(settings), psutil.virtual_memory().total >> 20):
            out.print(line, highlight=False, soft_wrap=True)
        return
    from nnlite.diagnostics.machine import all_findings

    findings = list(all_findings(settings))
    rows = [finding._asdict() for finding in findings]
    print_json(rows) if as_json else print_table(rows, ("subject", "state", "message"))
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)


def _setting_rows(settings: Settings) -> list[dict[str, str]]:
    places = origins()
    return [
        {
            "setting": variable,
            "value": _shown(variable, setting.of(settings)),
            "default": _shown(variable, setting.field.get_default(call_default_factory=True)),
            "origin": places.get(variable, "default"),
            "description": setting.field.description or "",
        }
        for variable, setting in all_settings().items()
    ]


def _shown(variable: str, value: object) -> str:
    """Return a setting's value as it is written in `.env`; never a credential."""
    if value is None or value == ():
        return ""
    if variable.removeprefix(PREFIX) in SECRET:
        return "(set)"
    return orjson.dumps(value).decode() if isinstance(value, tuple | bool) else str(value)
