"""Requests of campaigns: the user's choice of models, precisions, pools, backends and threads."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from nnlite.artifacts.calibration import Calibration
from nnlite.artifacts.evaluation import EvaluationData
from nnlite.catalog.lemur.configuration import BEST
from nnlite.catalog.model import canonical_json
from nnlite.errors import UsageError
from nnlite.vocabulary import (
    DEFAULT_PRIORITY,
    HOST_POOL,
    PASSES,
    Backend,
    EvaluateOn,
    Int8Io,
    Mode,
    Precision,
    Stage,
)

#: Fields that are always stored. Any other is omitted at its default, so that derived names and stored
#: requests of earlier releases do not change.
_ALWAYS = {
    "source", "models", "match", "limit", "seed", "precisions", "pools", "backends", "transform", "dataset",
}  # fmt: skip


#: Fields that choose models; without one a request takes all of its source.
_CHOICES = ("models", "match", "limit", "path", "weights", "prebuilt")


class RequestError(UsageError):
    """An invalid request; the message names the value and what is allowed."""


class RequestConflict(RequestError):
    """A valid request that what is there does not allow: its name is taken, or no model matches it."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True)
class Request:
    """These models x these precisions x these pools x these backends, the CPU with these numbers of threads.

    The same name with the same request resumes; with another one it is an error.
    """

    source: str = "lemur"
    #: Names of models; empty: all that `match` selects.
    models: tuple[str, ...] = ()
    match: str | None = None
    limit: int | None = None
    seed: int | None = None
    precisions: tuple[Precision, ...] = (Precision.FP32,)
    pools: tuple[str, ...] = (HOST_POOL,)
    backends: tuple[Backend, ...] = (Backend.CPU,)
    #: Only trials with this transform, this dataset; None: the catalog's choice.
    transform: str | None = None
    dataset: str | None = None
    #: Absolute paths of the source's files; empty: the source's default, or none.
    path: tuple[str, ...] = ()
    #: Inputs of networks that do not declare them, such as `1x3x224x224:float32`.
    inputs: tuple[str, ...] = ()
    #: Layout of image inputs; None: that of mobile runtimes, unless the source declares one.
    layout: str | None = None
    #: How many configurations of each architecture: `best`, `all` or a number.
    configs: str = BEST
    #: Absolute path of trained weights of LEMUR's models; None: weights are drawn.
    weights: str | None = None
    #: Data for int8 calibration and parity; None: only fp32 was requested.
    calibration: Calibration | None = None
    #: Type of inputs and outputs of int8 artifacts.
    int8_io: Int8Io = Int8Io.FLOAT
    #: How long each artifact is measured.
    mode: Mode = Mode.STANDARD
    #: How often each artifact is measured, each time in a process of its own and apart in time.
    repeat: int = 1
    #: Numbers of threads of the CPU backend, ascending; empty: the one that each worker is set to.
    threads: tuple[int, ...] = ()
    #: Measure the operators of each artifact too, in one more pass of its first run.
    profile: bool = False
    #: Seconds of continuous inference of each artifact, in one more pass of its first run; 0: none.
    sustained: int = 0
    #: Seconds of continuous inference between readings of meters, in one more pass; 0: none.
    energy: int = 0
    #: The same while a phone counts its processor's events, in one more pass of its first run; 0: none.
    counters: int = 0
    #: Cores that measure: `fast`, `all` or numbers such as `4,5`; empty: as the scheduler likes.
    cores: str = ""
    #: Labelled samples that the accuracy of each artifact is measured on; None: it is not measured.
    evaluation: EvaluationData | None = None
    #: Where it is measured.
    evaluate_on: EvaluateOn = EvaluateOn.HOST
    #: Absolute paths of the user's samples, by field (calibration, evaluation), for campaign files. No part
    #: of what is asked: samples are known by their content.
    sample_paths: Mapping[str, str] = field(default_factory=dict, compare=False)
    #: Absolute path of ready `.tflite` files of LEMUR's models; None: they are converted.
    prebuilt: str | None = None

    @property
    def passes(self) -> dict[Stage, int]:
        """The seconds of each pass that is asked for."""
        return {stage: seconds for stage in PASSES if (seconds := getattr(self, stage))}

    @property
    def takes_all(self) -> bool:
        """Whether it chooses no model: neither by name or pattern, nor a number, nor by its files."""
        return _takes_all(asdict(self))

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if key in _ALWAYS or value != _DEFAULTS[key]
        }

    def differences(self, stored: dict[str, Any]) -> list[tuple[str, str]]:
        """Return what this request asks for otherwise than the `stored` one, both as a user writes it."""
        mine, stored = _asked(self.as_dict()), _asked(stored)
        return [
            (
                _written(name, stored.get(name, _DEFAULTS.get(name))),
                _written(name, mine.get(name, _DEFAULTS.get(name))),
            )
            for name in sorted(stored | mine)
            if stored.get(name) != mine.get(name)
        ]

    def default_name(self) -> str:
        """Return a name derived from the request: equal requests, equal names."""
        digest = hashlib.sha256(canonical_json(_asked(self.as_dict()))).hexdigest()[:8]
        return f"{self.source}-{self.limit}-{digest}" if self.limit else f"{self.source}-{digest}"


_DEFAULTS = asdict(Request())


def _takes_all(fields: Mapping[str, Any]) -> bool:
    return not any(fields.get(name) for name in _CHOICES)


def _asked(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that say what is asked for."""
    return {name: value for name, value in fields.items() if name != "sample_paths"}


_LONGEST_NAME = 200
#: Of one field in an error, characters: a request may name thousands of models.
_LONGEST_DIFFERENCE = 120
#: Options that give a field, where they are not called as it.
_OPTIONS = {
    "models": "", "precisions": "precision", "pools": "pool", "backends": "backend", "inputs": "input",
    "evaluation": "evaluate",
}  # fmt: skip


def as_toml(stored: dict[str, Any], *, name: str, priority: int = DEFAULT_PRIORITY) -> str:
    """Return a campaign file that makes a stored request; without what is at its default."""
    options, paths = {"name": name, **_changed(stored)}, stored.get("sample_paths", {})
    if priority != DEFAULT_PRIORITY:
        options["priority"] = priority
    if _takes_all(stored):
        options["yes"] = True
    lines = []
    for name_of, value in options.items():
        key = "models" if name_of == "models" else _option(name_of)
        written = _samples(value, paths.get(name_of)) if isinstance(value, dict) else value
        # Of these values JSON is TOML, too.
        lines.append(f"{key} = {json.dumps(written, ensure_ascii=False)}\n")
    return "".join(lines)


def as_arguments(stored: dict[str, Any]) -> list[str]:
    """Return the arguments of `nnlite submit` that make a stored request; without what is at its default."""
    paths = stored.get("sample_paths", {})
    arguments = [
        _written(name, _samples(value, paths.get(name)) if isinstance(value, dict) else value)
        for name, value in _changed(stored).items()
    ]
    return [*arguments, "--yes"] if _takes_all(stored) else arguments


def _changed(stored: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a stored request that are not at their default."""
    return {
        name: value
        for name, value in _asked(stored).items()
        if (tuple(value) if isinstance(value, list) else value) != _DEFAULTS.get(name)
    }


def _option(field: str) -> str:
    return _OPTIONS.get(field, field).replace("_", "-")


def _samples(stored: dict[str, Any], path: str | None = None) -> str:
    """Return a stored calibration or evaluation as a user writes it; by name where its path is unknown."""
    return path or str(stored.get("name") or stored["kind"])


def _written(name: str, value: Any) -> str:
    """Return a field as a user writes it: `--limit 20`, `without --limit`."""
    option = f"--{_option(name)}"
    if isinstance(value, dict):
        value = _samples(value)
    if value is None or value is False or value in ((), []):
        return "without names of models" if name == "models" else f"without {option}"
    if name == "models":
        return shlex.join(value)
    if value is True:
        return option
    if name in {"pools", "path", "inputs"}:  # not with commas
        return " ".join(f"{option} {shlex.quote(str(each))}" for each in value)
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f"{option} {shlex.quote(text)}"


def check_name(name: str) -> str:
    """Return the name of a campaign if it is valid: text of one line that can be printed.

    Raises:
        RequestError: it is empty, too long, or has characters that a terminal would interpret.
    """
    if not name.strip() or len(name) > _LONGEST_NAME:
        raise RequestError(f"a campaign's name has 1 to {_LONGEST_NAME} characters, {name!r} has {len(name)}")
    if not name.isprintable():
        raise RequestError(f"campaign name {name!r} has characters that cannot be printed; choose another")
    return name


def check_same(name: str, request: Request, stored: dict[str, Any]) -> None:
    """Check that the campaign `name` was submitted with the same request.

    Raises:
        RequestConflict: it was submitted with another one; the message has the differences.
    """
    if differences := request.differences(stored):
        before, now = (", ".join(map(_with, written)) for written in zip(*differences, strict=True))
        raise RequestConflict(
            f"campaign {name!r} was submitted {before}; this request is {now}; "
            "choose another --name, or repeat the first request to resume it"
        )


def _with(written: str) -> str:
    if written.startswith("without"):
        return written
    what = written if written.startswith("--") else f"the models {written}"
    return f"with {what if len(what) <= _LONGEST_DIFFERENCE else what[: _LONGEST_DIFFERENCE - 1] + '…'}"
