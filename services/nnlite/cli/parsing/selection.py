"""Requests from the command line: the options that describe one, and the models that it selects."""

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from nnlite.backends import CPU_BACKENDS
from nnlite.campaigns.request import Request, RequestError
from nnlite.catalog.lemur.configuration import BEST
from nnlite.catalog.model import CatalogModel, ModelSource
from nnlite.catalog.selection import select
from nnlite.cli.parsing import options
from nnlite.cli.parsing.words import chosen, words
from nnlite.host.cores import canonical_choice
from nnlite.settings import Settings, load_settings
from nnlite.vocabulary import MAX_THREAD_COUNTS, Backend, EvaluateOn, Int8Io, Mode, Precision

_MAX_THREADS = 1024
_NUMBER = re.compile(r"[0-9]{1,9}")
#: Of a value in an error, characters.
_LONGEST = 40
#: Options of a request that name one model.
_OF_ONE = ("source", "transform", "dataset", "path", "inputs", "layout", "configs", "weights")


def request_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a request: it is called with `request` and its own options."""
    return _with_request(_request, inspect.signature(_request, eval_str=True).parameters.values(), command)


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name one model: it is called with `request` and its own options."""

    def request_of_one(model: str, **values: Any) -> Request:
        return _request(models=[model], **values)

    every = inspect.signature(_request, eval_str=True).parameters
    model = inspect.Parameter("model", inspect.Parameter.KEYWORD_ONLY, annotation=options.OneModel)
    return _with_request(request_of_one, [model, *(every[name] for name in _OF_ONE)], command)


def _with_request(
    make: Callable[..., Request], shared: Iterable[inspect.Parameter], command: Callable[..., None]
) -> Callable[..., None]:
    """Give a command the parameters `shared`, of which `make` makes its request."""
    shared = list(shared)
    own = [
        parameter
        for name, parameter in inspect.signature(command, eval_str=True).parameters.items()
        if name != "request"
    ]

    @wraps(command)
    def with_request(**values: Any) -> None:
        request = make(**{each.name: values[each.name] for each in shared})
        command(request=request, **{parameter.name: values[parameter.name] for parameter in own})

    # Typer reads both.
    every = {each.name: each for each in (*shared, *own)}
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in every.values()]
    with_request.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_request.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_request


def _request(
    *,
    models: options.Models = None,
    source: options.Source = "lemur",
    limit: options.Limit = None,
    match: options.Match = None,
    seed: options.Seed = None,
    precision: options.Precisions = ["fp32"],
    calibration: options.Calibration = None,
    evaluate: options.Evaluate = None,
    evaluate_on: options.EvaluateOnOption = EvaluateOn.HOST,
    int8_io: options.Int8IO = Int8Io.FLOAT,
    mode: options.ModeOption = Mode.STANDARD,
    backend: options.Backends = ["cpu"],
    threads: options.Threads = None,
    transform: options.Transform = None,
    dataset: options.Dataset = None,
    path: options.Paths = None,
    inputs: options.Inputs = None,
    layout: options.LayoutOption = None,
    configs: options.Configs = BEST,
    weights: options.Weights = None,
    prebuilt: options.Prebuilt = None,
    repeat: options.Repeat = 1,
    profile: options.Profile = False,
    cores: options.Cores = "",
    sustained: options.Sustained = 0,
    energy: options.Energy = 0,
    counters: options.Counters = 0,
    dry_run: options.DryRun = False,
) -> Request:
    # The store that they know takes longer to import than the help takes to print.
    from nnlite.campaigns.sample_choice import chosen_calibration, chosen_evaluation

    precisions = chosen(Precision, "--precision", precision)
    backends = chosen(Backend, "--backend", backend)
    if evaluate is None and evaluate_on is not EvaluateOn.HOST:
        raise RequestError(f"--evaluate-on {evaluate_on} needs labelled samples; add --evaluate PATH")
    samples = chosen_calibration(calibration, precisions, load_settings(), store=not dry_run)
    own = {
        "calibration": calibration if samples and samples.path else None,
        "evaluation": evaluate,
    }
    return Request(
        source=source,
        models=tuple(models or ()),
        match=match,
        limit=limit,
        seed=seed,
        precisions=precisions,
        calibration=samples,
        int8_io=int8_io,
        mode=mode,
        backends=backends,
        transform=transform,
        dataset=dataset,
        path=absolute(path),
        inputs=tuple(inputs or ()),
        layout=layout,
        configs=configs,
        weights=absolute([weights])[0] if weights else None,
        prebuilt=absolute([prebuilt])[0] if prebuilt else None,
        repeat=repeat,
        profile=profile,
        cores=parse_cores(cores),
        sustained=sustained,
        energy=energy,
        counters=counters,
        evaluation=chosen_evaluation(
            evaluate, source, weights or prebuilt, load_settings(), store=not dry_run
        ),
        evaluate_on=evaluate_on,
        sample_paths={name: absolute([Path(path)])[0] for name, path in own.items() if path is not None},
        threads=parse_threads(threads or [], backends),
    )


def resolve(request: Request, settings: Settings) -> tuple[list[CatalogModel], ModelSource]:
    """Return the request's models and their source.

    Raises:
        CatalogError: the source cannot be read, or a name is unknown.
    """
    source = open_source(request, settings)
    models = select(
        source.models(), names=request.models, match=request.match, limit=request.limit, seed=request.seed
    )
    return models, source


def resolve_one(request: Request, settings: Settings) -> tuple[CatalogModel, ModelSource]:
    """Return the one model that a request names, and its source.

    Raises:
        CatalogError: as `resolve`.
        RequestError: several configurations have its name.
    """
    models, source = resolve(request, settings)
    if len(models) > 1:
        names = ", ".join(model.name for model in models[:3])
        raise RequestError(f"{len(models)} configurations have this name; name one of {names}, ...")
    return models[0], source


def open_source(request: Request, settings: Settings) -> ModelSource:
    """Return the source that the request names, with its options.

    Raises:
        CatalogError: there is no such source, or it does not know an option.
    """
    from nnlite.catalog.sources import load_source

    return load_source(
        request.source,
        settings,
        transform=request.transform,
        dataset=request.dataset,
        path=tuple(map(Path, request.path)) or None,
        input=request.inputs or None,
        layout=request.layout,
        configs=None if request.configs == BEST else request.configs,
        # All models that the request may select; empty: any.
        wanted=None if request.configs == BEST else (*request.models, *filter(None, [request.match])),
        weights=Path(request.weights) if request.weights else None,
        prebuilt=Path(request.prebuilt) if request.prebuilt else None,
    )


def absolute(paths: Sequence[Path] | None) -> tuple[str, ...]:
    """Return paths as a request keeps them: absolute, so that a repeated request means the same files."""
    if not paths:
        return ()
    from nnlite.catalog.files.source import is_module

    return tuple(str(path if is_module(path) else path.expanduser().absolute()) for path in paths)


def parse_cores(choice: str) -> str:
    """Return a choice of cores as a request keeps it; empty: none.

    Raises:
        RequestError: it names none.
    """
    try:
        return canonical_choice(choice) if choice else ""
    except ValueError as error:
        raise RequestError(f"--cores {error}") from error


def parse_threads(values: list[str], backends: Sequence[Backend]) -> tuple[int, ...]:
    """Return the numbers of threads that `values` name, each one or several with commas, ascending.

    Raises:
        RequestError: one is no such number, there are too many, or no backend uses threads.
    """
    named = words(values) or values
    if (invalid := next((word for word in named if not _NUMBER.fullmatch(word)), None)) is not None:
        raise RequestError(f"--threads {invalid[:_LONGEST]!r} is no number of threads; write --threads 1,2,4")
    threads = tuple(sorted(set(map(int, named))))
    if threads and CPU_BACKENDS.isdisjoint(backends):
        allowed = ", ".join(backend for backend in Backend if backend in CPU_BACKENDS)
        raise RequestError(f"--threads is for backends on the CPU ({allowed}); add --backend cpu")
    if threads and not 1 <= threads[0] <= threads[-1] <= _MAX_THREADS:
        outside = threads[0] if threads[0] < 1 else threads[-1]
        raise RequestError(f"--threads {outside} is not within 1-{_MAX_THREADS}")
    if len(threads) > MAX_THREAD_COUNTS:
        raise RequestError(
            f"--threads names {len(threads)} numbers, at most {MAX_THREAD_COUNTS} are measured; "
            "submit the others as another campaign"
        )
    return threads
