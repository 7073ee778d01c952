"""`nnlite models` and `nnlite fetch`: list the models of a source, download LEMUR."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from nnlite.campaigns.request import Request
from nnlite.catalog.lemur.configuration import BEST
from nnlite.catalog.model import CatalogModel
from nnlite.catalog.selection import check_names, matches, sample
from nnlite.cli.parsing import options, selection
from nnlite.cli.presenting.output import err, note, print_json, print_table
from nnlite.errors import UsageError
from nnlite.settings import load_settings

app = typer.Typer()

#: Default number of rows of a table; JSON has all.
TABLE_ROWS = 50

COLUMNS = ("model", "task", "dataset", "transform", "input", "configuration")


@app.command()
def models(
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help="Names or glob patterns; none: every model."),
    ] = None,
    match: Annotated[
        str | None, typer.Option(metavar="GLOB", help="Only models whose name matches, such as 'ga-*'.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only this task, such as img-segmentation.")] = None,
    dataset: options.Dataset = None,
    transform: options.Transform = None,
    usable: Annotated[
        bool | None,
        typer.Option("--usable/--skipped", help="Only what can be converted, or only what cannot."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=0, help=f"At most this many; 0: all [default: {TABLE_ROWS}, all with --json]."),
    ] = None,
    seed: options.Seed = None,
    source: options.Source = "lemur",
    path: options.Paths = None,
    inputs: options.Inputs = None,
    layout: options.LayoutOption = None,
    configs: options.Configs = BEST,
    weights: options.Weights = None,
    prebuilt: options.Prebuilt = None,
    json: options.Json = False,
) -> None:
    """List the models of a source, each with the configuration that would be converted.

    A model that will not be converted is a row too, with the reason. The first listing reads the whole
    source, which takes some seconds; later ones come from a cache. With --limit and --seed: the random sample
    that run and submit take with the same options.

    Examples:

    - `nnlite models 'ResNet*' --usable`
    - `nnlite models --task img-segmentation --json`
    - `nnlite models --skipped --limit 0`
    - `nnlite models --match 'ga-*' --limit 20 --seed 1`
    """
    if seed is not None and not limit:
        raise UsageError("--seed draws a sample of --limit models; add --limit 20")
    if seed is not None and usable is False:
        raise UsageError("--seed draws models that can be converted; leave --skipped out")
    patterns = [*(names or ()), *([match] if match else ())]
    with err.status(f"reading {source}"):
        request = Request(
            source=source,
            models=tuple(patterns),
            dataset=dataset,
            transform=transform,
            path=selection.absolute(path),
            inputs=tuple(inputs or ()),
            layout=layout,
            configs=configs,
            weights=selection.absolute([weights])[0] if weights else None,
            prebuilt=selection.absolute([prebuilt])[0] if prebuilt else None,
        )
        catalog = selection.open_source(request, load_settings()).models()
    absent = check_names(catalog, patterns)
    tasks = {model.task for model in catalog}
    if task is not None and tasks and task not in tasks:
        raise UsageError(f"--task {task!r} is none of {', '.join(sorted(tasks))}")
    rows = [model for model in catalog if _wanted(model, patterns, task, usable)]
    if seed is None:
        most = (0 if json else TABLE_ROWS) if limit is None else limit
        shown = rows[: most or None]
    else:
        rows = sorted((model for model in rows if model.skipped is None), key=lambda model: model.name)
        shown = sample(rows, limit or 0, seed)
    if json:
        print_json(asdict(model) | {"identity": model.identity} for model in shown)
    elif shown:
        reasons = any(model.skipped for model in shown)
        columns = (*COLUMNS, "reason") if reasons else COLUMNS
        print_table(map(_cells, shown), columns, optional=("configuration", "task", "transform"))
    for pattern in absent:
        note(f"none of {len(catalog):,} names matches {pattern!r}")
    _print_summary(rows, len(shown), len(catalog), sample=seed is not None)


@app.command()
def fetch() -> None:
    """Download the files of LEMUR (nn-dataset, 103 MB) into the data folder, without its dependencies.

    Nothing is downloaded twice. Not needed where nn-dataset is installed, or NNLITE_LEMUR names a checkout,
    a wheel or a SQLite file.

    Example: `nnlite fetch && nnlite models --usable`
    """
    # What downloads takes longer to import than a listing.
    from nnlite.cli.actions.download import download_lemur

    typer.echo(download_lemur(load_settings()))


def _wanted(model: CatalogModel, patterns: Sequence[str], task: str | None, usable: bool | None) -> bool:
    return (
        (not patterns or any(matches(model.name, pattern) for pattern in patterns))
        and task in (None, model.task)
        and usable in (None, model.skipped is None)
    )


def _cells(model: CatalogModel) -> dict[str, Any]:
    return vars(model) | {
        "model": model.name,
        "input": _input(model),
        "configuration": model.configuration_source[: len("trial:") + 8],
        "reason": model.skipped,
    }


def _input(model: CatalogModel) -> str | None:
    """Return the size of the one image, or every input as it was written."""
    if model.inputs:
        return " ".join(f"{'x'.join(map(str, each.shape))}:{each.dtype}" for each in model.inputs)
    return "x".join(map(str, model.input_shape[1:])) if model.input_shape else None


def _print_summary(rows: Sequence[CatalogModel], shown: int, known: int, *, sample: bool) -> None:
    reasons = Counter(model.skipped.split(":")[0] for model in rows if model.skipped is not None)
    skipped = sum(reasons.values())
    whole = "a random sample" if sample else "--limit 0 shows all"
    of_all = "" if shown == len(rows) else f"{shown:,} shown, {whole}; "
    err.print(
        f"{of_all}{len(rows):,} of {known:,} models: {len(rows) - skipped:,} usable, {skipped:,} skipped",
        highlight=False,
    )
    for reason, count in reasons.most_common():
        err.print(f"  {count:,} {reason}", highlight=False)
