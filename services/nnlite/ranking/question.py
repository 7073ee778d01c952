"""A generator's question: the models to rank, as text, and how to measure them. Untrusted input."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    model_validator,
)

from nnlite.backends import CPU_BACKENDS
from nnlite.catalog.files.entry_point import find_entry_point
from nnlite.catalog.files.model_toml import parse_inputs
from nnlite.catalog.files.source import FilesSource
from nnlite.catalog.limits import apply_limits
from nnlite.catalog.model import CatalogError, CatalogModel, canonical_json, text_sha256
from nnlite.catalog.nngpt.folder import DEFAULT_CONFIG, DEFAULT_HYPERPARAMETERS, Generated, why_no_transform
from nnlite.catalog.nngpt.rows import GeneratedRows
from nnlite.catalog.nngpt.source import NnGptSource
from nnlite.catalog.untrusted.source_text import why_unusable
from nnlite.catalog.untrusted.text import MAX_BYTES, Unreadable, parse_json
from nnlite.errors import UsageError, plain
from nnlite.settings import Settings
from nnlite.vocabulary import (
    DEFAULT_PRIORITY,
    HOST_POOL,
    MAX_THREAD_COUNTS,
    Backend,
    Mode,
    ModelFormat,
    Precision,
)

#: Of one question; further models of the same campaign are asked for in further questions.
MAX_MODELS: Final = 1000

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}$")]
#: Of a task, a dataset, a metric or a transform, as NN-GPT's folders may name them.
_Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.+-]{1,100}$")]
_Code = Annotated[str, StringConstraints(min_length=1, max_length=MAX_BYTES)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Candidate(_Strict):
    """One model: the class `Net` of LEMUR's form, or any module if `inputs` are named."""

    name: Name
    code: _Code
    #: What the constructor is given: LEMUR's `prm`, or keyword arguments.
    hyperparameters: dict[str, JsonValue] | None = None
    #: Of training, 0 to 1; a later question may add it.
    accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    task: _Word | None = None
    dataset: _Word | None = None
    metric: _Word | None = None
    #: LEMUR's transform, or the name of the one in `transform_code`.
    transform: _Word | None = None
    transform_code: _Code | None = None
    #: Of any module, such as `1x3x224x224:float32`.
    inputs: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    #: Its class or factory; None: the only network of the code.
    entry_point: str | None = None

    @model_validator(mode="after")
    def _of_one_form(self) -> "Candidate":
        lemur_only = [name for name in ("transform", "transform_code") if getattr(self, name) is not None]
        if self.inputs and lemur_only:
            raise ValueError(
                f"{lemur_only[0]} belongs to LEMUR's form, inputs to any other module; leave one out"
            )
        if self.entry_point is not None and not self.inputs:
            raise ValueError("entry_point is for modules with inputs; LEMUR's form has the class Net")
        return self


class Question(_Strict):
    """Models to rank, and how they are measured; further questions with one campaign add models to it."""

    models: Annotated[tuple[Candidate, ...], Field(min_length=1, max_length=MAX_MODELS)]
    #: Name; None: derived from the question, so that the same question is the same campaign.
    campaign: Name | None = None
    pools: Annotated[tuple[Name, ...], Field(min_length=1, max_length=16)] = (HOST_POOL,)
    precisions: Annotated[tuple[Precision, ...], Field(min_length=1)] = (Precision.FP32,)
    backends: Annotated[tuple[Backend, ...], Field(min_length=1)] = (Backend.CPU,)
    threads: Annotated[
        tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(max_length=MAX_THREAD_COUNTS)
    ] = ()
    mode: Mode = Mode.STANDARD
    priority: Annotated[int, Field(ge=0, le=9)] = DEFAULT_PRIORITY

    @model_validator(mode="after")
    def _consistent(self) -> "Question":
        names = [model.name for model in self.models]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two models are called {twice}; names are unique in a question")
        if len({bool(model.inputs) for model in self.models}) > 1:
            raise ValueError("models with inputs and models of LEMUR's form are two campaigns; ask twice")
        if self.threads and CPU_BACKENDS.isdisjoint(self.backends):
            raise ValueError("threads are for the backend cpu; add it to backends")
        return self

    @property
    def source(self) -> str:
        """Name of the source that its models are of."""
        return FilesSource.name if self.models[0].inputs else NnGptSource.name

    @property
    def name(self) -> str:
        """Name of its campaign."""
        asked = canonical_json(self.model_dump(mode="json", exclude={"campaign", "priority"}))
        return self.campaign or f"rank-{hashlib.sha256(asked).hexdigest()[:8]}"


def parse_question(body: bytes) -> Question:
    """Return the question in a JSON text.

    Raises:
        UsageError: it is not JSON, or a field is unknown, missing or out of its bounds.
    """
    try:
        value: Any = parse_json(body.decode())
    except UnicodeDecodeError as error:
        raise UsageError(f"the question is not UTF-8: byte {error.start}") from error
    except Unreadable as error:
        raise UsageError(f"the question {error}") from error
    try:
        return Question.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the question"
        raise UsageError(f"{place}: {plain(first['msg'])}") from error


class Candidates:
    """The models of a question, as a source of models."""

    def __init__(self, settings: Settings, question: Question) -> None:
        self.name = question.source
        self._settings, self._candidates = settings, question.models
        self._rows = GeneratedRows(settings, self.name)
        self._codes: dict[str, str] = {}

    def models(self) -> list[CatalogModel]:
        """Return every model in the order of the question, with those that cannot be converted as skipped."""
        make = self._module if self._candidates[0].inputs else self._generated
        return apply_limits(map(make, self._candidates), self._settings.catalog)

    def code(self, model: CatalogModel) -> str:
        """Return the model's code."""
        sha256 = str(model.code_sha256)
        return self._codes[sha256] if sha256 in self._codes else str(self._rows.text(sha256))

    def transform_code(self, model: CatalogModel) -> str | None:
        """Return the code of the model's transform, where it has one."""
        return self._rows.text(model.transform_sha256)

    def weights_file(self, model: CatalogModel) -> Path:
        """Candidates have no weights."""
        raise CatalogError(f"{model.name} has no weights file")

    def _generated(self, candidate: Candidate) -> CatalogModel:
        given_words = {field: getattr(candidate, field) for field in DEFAULT_CONFIG._fields}
        config = DEFAULT_CONFIG._replace(**{field: word for field, word in given_words.items() if word})
        given = candidate.hyperparameters
        generated = Generated(
            tag=candidate.name,
            code=candidate.code,
            transform_code=candidate.transform_code,
            hyperparameters={**DEFAULT_HYPERPARAMETERS, **(given or {}), "transform": config.transform},
            training_config=config,
            configuration_source="default" if given is None else "request",
            accuracy=candidate.accuracy,
            skipped=_why_broken(candidate),
        )
        return self._rows.row(generated)

    def _module(self, candidate: Candidate) -> CatalogModel:
        sha256 = text_sha256(candidate.code)
        self._codes[sha256] = candidate.code
        skipped = entry_point = None
        try:
            entry_point = find_entry_point(candidate.code, candidate.name, candidate.entry_point)
            inputs = parse_inputs(candidate.inputs)
        except CatalogError as error:
            skipped, inputs = f"broken: {error} (the fields inputs and entry_point)", ()
        return CatalogModel(
            source=self.name,
            name=candidate.name,
            code_sha256=sha256,
            hyperparameters=dict(candidate.hyperparameters or {}),
            task=candidate.task or "",
            dataset=candidate.dataset or "",
            metric=candidate.metric or "",
            accuracy=candidate.accuracy,
            configuration_source="request",
            inputs=inputs,
            model_format=ModelFormat.PYTHON,
            entry_point=entry_point,
            skipped=skipped,
        )


def _why_broken(candidate: Candidate) -> str | None:
    if why := why_unusable(candidate.code):
        return f"broken: its code {why}"
    if candidate.transform_code is not None and (why := why_no_transform(candidate.transform_code)):
        return f"broken: its transform {why}"
    return None
