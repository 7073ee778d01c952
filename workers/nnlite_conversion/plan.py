"""Plans a conversion: the precisions wanted of a model, their cache keys, and which are in the cache."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, text

from nnlite.artifacts.calibration import Calibration
from nnlite.artifacts.evaluation import EvaluationData
from nnlite.backends import further_formats
from nnlite.catalog.model import ModelSpec
from nnlite.db.engine import autocommit
from nnlite.db.rows import from_row
from nnlite.db.tables import Artifact, RefusedPrecision
from nnlite.queue.leases import Claim
from nnlite.vocabulary import ArtifactFormat, Backend, EvaluateOn, Int8Io, ModelFormat, Precision
from nnlite_conversion.cache_key import (
    QUANTIZING,
    cache_key,
    converter_tag,
    format_key,
    prebuilt_key,
    revised_rewrites,
    runtime_tag,
)


@dataclass(frozen=True, kw_only=True)
class ConversionPlan:
    """The precisions that a campaign wants of one model, with the cache key of each."""

    identity: str
    #: The precision of a pre-built file is unknown until it is read, so every precision has its key.
    keys: dict[Precision, str]
    #: Keys of the files in other formats than `.tflite` that backends of the campaign execute.
    format_keys: Mapping[ArtifactFormat, str] = field(default_factory=dict)
    #: Key of the artifact that every other precision is made from, wanted or not.
    fp32_key: str
    #: Versions of libraries and rewrites: the column `converter` of its artifacts.
    converter: str
    calibration: Calibration | None
    int8_io: Int8Io
    #: What the artifacts' accuracy is measured on; None: it is not.
    evaluation: EvaluationData | None
    #: Devices need the samples too.
    evaluate_on: EvaluateOn

    @property
    def refused_by(self) -> str:
        """The column `converter` of refused precisions; those of another one are tried again.

        That of other formats than `.tflite` is their `format_tag`.
        """
        return f"{self.converter}, quantizing {QUANTIZING}"

    @property
    def distinct_keys(self) -> tuple[str, ...]:
        """The keys without repetition, in order."""
        return tuple(dict.fromkeys([*self.keys.values(), *self.format_keys.values()]))

    def key_of(self, precision: Precision, artifact_format: ArtifactFormat) -> str:
        """Return the key of an artifact that the plan wants; KeyError: it wants no such artifact."""
        if artifact_format is ArtifactFormat.TFLITE:
            return self.keys[precision]
        return self.format_keys[artifact_format]


@dataclass(frozen=True, kw_only=True)
class CacheLookup:
    """Artifacts and refused precisions by cache key."""

    artifacts: dict[str, Artifact]
    refused: dict[str, RefusedPrecision]

    def to_convert(self, plan: ConversionPlan) -> tuple[Precision, ...]:
        """Return the precisions of `plan` that are not in the cache, neither as artifact nor as refused."""
        return tuple(precision for precision, key in plan.keys.items() if not self._knows(key))

    def formats_to_convert(self, plan: ConversionPlan) -> tuple[ArtifactFormat, ...]:
        """Return the formats of `plan` that are not in the cache, neither as artifact nor as refused."""
        return tuple(each for each, key in plan.format_keys.items() if not self._knows(key))

    def _knows(self, key: str) -> bool:
        return key in self.artifacts or key in self.refused


def plan_of(work: Mapping[str, Any], spec: ModelSpec) -> ConversionPlan:
    """Return the plan for a claimed conversion.

    Args:
        work: the columns of its claim.
        spec: of its model; code that it lacks cannot be searched.
    """
    identity, revised = work["identity"], revised_rewrites(spec.code)
    floats = sum(each.dtype.startswith("float") for each in spec.inputs)
    calibration = Calibration.from_dict(work["calibration"]) if work["calibration"] else None
    int8_io = Int8Io(work["int8_io"])
    format_keys = {}
    if ModelFormat(work["model_format"]) is ModelFormat.PREBUILT:
        keys, converter = dict.fromkeys(Precision, prebuilt_key(identity)), runtime_tag()
    else:
        formats = further_formats(map(Backend, work["backends"]))
        format_keys = {each: format_key(identity, each) for each in formats}
        precisions = map(Precision, work["precisions"])
        keys = {
            each: cache_key(identity, each, calibration, int8_io, revised, float_inputs=floats)
            for each in precisions
        }
        converter = converter_tag(revised)
    return ConversionPlan(
        identity=identity,
        keys=keys,
        format_keys=format_keys,
        fp32_key=cache_key(identity, Precision.FP32, revised=revised),
        converter=converter,
        calibration=calibration,
        int8_io=int8_io,
        evaluation=from_row(EvaluationData, work["evaluation"]) if work["evaluation"] else None,
        evaluate_on=EvaluateOn(work["evaluate_on"]),
    )


def spec_of(engine: Engine, claim: Claim) -> ModelSpec:
    """Read what the child needs to build the model of a claimed conversion."""
    with autocommit(engine) as connection:
        row = connection.execute(_SPEC, {"id": claim.id}).mappings().one()
    shape = row["input_shape"]
    inputs = row["inputs"]["tensors"] if row["inputs"] else ()
    # The conversion of a model file records the shape that it finds; models are built from (N, C, H, W) only.
    built_from = {"inputs": inputs, "input_shape": shape if shape and len(shape) == 4 else None}
    return from_row(ModelSpec, {**row, **built_from})


_SPEC = text("""
SELECT m.*, k.text AS code, t.text AS transform_code
FROM conversion v JOIN model m ON m.id = v.model_id
LEFT JOIN code k ON k.sha256 = m.code_sha256 LEFT JOIN code t ON t.sha256 = m.transform_sha256
WHERE v.id = :id
""")
