"""`nnlite check`: prints problems that would keep a cluster from starting, one per line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from nnlite import logs
from nnlite.cli.parsing.words import words
from nnlite.cli.presenting.output import note, print_error
from nnlite.diagnostics.preflight import (
    disk_problems,
    folder_problems,
    judging_for,
    kvm_problem,
    postgres_problems,
    profile_problems,
    secret_problems,
)
from nnlite.errors import NnliteError, UsageError
from nnlite.host.cores import cores_of
from nnlite.settings import load_settings
from nnlite.vocabulary import DeviceKind

app = typer.Typer()


@app.command()
def check(
    secret: Annotated[
        list[str], typer.Option(metavar="[NAME=]FILE", help="Holds a password, alone; NAME is for messages.")
    ] = [],
    min_secret: Annotated[int, typer.Option(help="Shortest password, characters.")] = 12,
    example: Annotated[list[str], typer.Option(help="A password of an example, which is refused.")] = [],
    folder: Annotated[
        list[str],
        typer.Option(metavar="FOLDER[:UID]", help="To be read and written by --uid, or by account UID."),
    ] = [],
    disk: Annotated[
        list[Path], typer.Option(readable=False, help="A folder whose disk needs free space.")
    ] = [],
    min_free_gb: Annotated[float, typer.Option(help="Free space needed.")] = 5,
    postgres: Annotated[
        str | None,
        typer.Option(
            envvar="LAB_POSTGRES_DATA",
            metavar="FOLDER:MAJOR",
            help="Data of Postgres, and the version that opens it.",
        ),
    ] = None,
    profiles: Annotated[str, typer.Option(help="Chosen compose profiles, comma-separated.")] = "",
    known_profiles: Annotated[str, typer.Option(help="Existing profiles, comma-separated.")] = "",
    kvm: Annotated[
        Path,
        typer.Option(readable=False, help=f"The device of KVM; tried with profile {DeviceKind.EMULATOR}."),
    ] = Path("/dev/kvm"),
    uid: Annotated[int | None, typer.Option(help="As root: judge for this account of the workers.")] = None,
) -> None:
    """List what would keep a cluster from starting; changes nothing, exit code 1 if there is a problem.

    Example: nnlite check --secret LAB_POSTGRES_PASSWORD=/run/secrets/postgres_password --folder /artifacts
    --disk /artifacts --postgres /postgres:17 --profiles gpu,emulator --known-profiles gpu,emulator,phone
    """
    chosen = words([profiles])

    def problems() -> Iterator[str]:
        with judging_for(uid):
            yield from _settings_problems()
            for text in secret:
                name, _, file = text.rpartition("=")
                named = f"{name} ({file})" if name else file
                yield from secret_problems(named, Path(file), min_secret, example)
            if DeviceKind.EMULATOR in chosen and (problem := kvm_problem(kvm)):
                yield f"profile {DeviceKind.EMULATOR}: {problem}, or leave the profile out"
        for text in folder:
            path, owner = _with_number(text, "--folder FOLDER[:UID]")
            with judging_for(uid if owner is None else owner):
                yield from folder_problems(path)
        for path in disk:
            yield from disk_problems(path, min_free_gb)
        if postgres:
            path, major = _with_number(postgres, "--postgres FOLDER:MAJOR")
            if major is None:
                raise UsageError(f"--postgres {postgres} has no version; write --postgres FOLDER:MAJOR")
            yield from postgres_problems(path, major)
        yield from profile_problems(chosen, words([known_profiles])) if known_profiles else ()

    all_problems = list(problems())
    for problem in all_problems:
        print_error(problem)
    if all_problems:
        raise typer.Exit(1)
    note("ok: no problems found")


def _settings_problems() -> Iterator[str]:
    try:
        settings = load_settings()
        logs.configure(settings.log_level)
        cores_of(settings)
    except NnliteError as error:
        yield str(error)


def _with_number(text: str, usage: str) -> tuple[Path, int | None]:
    folder, _, number = text.partition(":")
    if number and not number.isdecimal():
        raise UsageError(f"{text}: {number} is not a number; write {usage}")
    return Path(folder), int(number) if number else None
