"""Parses the benchmark app's arguments."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from nnlite_benchmark.protocol.runs import Bounds


class Unusable(Exception):
    """The arguments cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Parsed arguments of a run."""

    #: A hex id; names the folder of the outputs.
    run: str
    model: Path
    #: One raw little-endian tensor each, in the artifact's order.
    inputs: tuple[Path, ...]
    backend: str
    threads: int
    precision_loss: bool
    #: Whether files are sent as chunks in status messages.
    by_status: bool
    bounds: Bounds


def read_arguments(extras: Mapping[str, str]) -> Arguments:
    """Parse the strings.

    Raises:
        Unusable: one is missing or means nothing, or a file is not there.
    """
    try:
        arguments = Arguments(
            run=extras["run"],
            model=Path(extras["model"]),
            inputs=tuple(Path(path) for path in extras["inputs"].split(",") if path),
            backend=extras["backend"],
            threads=int(extras.get("threads", "1")),
            precision_loss=extras.get("precision_loss") == "true",
            by_status=extras.get("transfer") == "status",
            bounds=Bounds(**{name: kind(extras[name]) for name, kind in _bounds().items()}),
        )
    except KeyError as error:
        raise Unusable(f"argument {error.args[0]} is missing") from error
    except ValueError as error:
        raise Unusable(f"an argument is no number: {error}") from error
    if arguments.backend not in {"cpu", "gpu", "npu", "cpu-plain"}:
        raise Unusable(f"backend {arguments.backend} is none of cpu, gpu, npu, cpu-plain")
    if not arguments.run or not set(arguments.run) <= set("0123456789abcdef"):
        raise Unusable(f"run {arguments.run} is not a hex id")
    for path in (arguments.model, *arguments.inputs):
        if not path.is_file():
            raise Unusable(f"{path}: no such file")
    return arguments


def _bounds() -> Mapping[str, type]:
    return {field.name: int if field.name.endswith("_runs") else float for field in fields(Bounds)}
