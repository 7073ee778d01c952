"""Tables of the database, as SQLAlchemy classes.

Postgres is the source of truth: these rows, not messages, hold pending and
finished work. Durations end in `_ns` (integer nanoseconds), memory in `_kb`; times
are `timestamptz` of Postgres's own clock. Views live in the migrations.

More than 300 lines: one class per table, and a column's comment is its documentation.
"""

import uuid
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP, UUID
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, declared_attr, mapped_column

from nnlite.db.rows import row_id
from nnlite.vocabulary import ArtifactFormat

Json = dict[str, Any]


class Base(DeclarativeBase):
    """All tables; constraint names are deterministic so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {
        str: Text,
        int: BigInteger,
        datetime: TIMESTAMP(timezone=True),
        uuid.UUID: UUID(as_uuid=True),
        Json: JSONB,
        list[str]: ARRAY(Text),
        list[int]: ARRAY(BigInteger),
    }


class Code(Base):
    """Source text of models and transforms, each stored once under its hash."""

    __tablename__ = "code"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str]


class Model(Base):
    """One architecture with one chosen configuration."""

    __tablename__ = "model"
    __table_args__ = (Index(None, "name"), Index(None, "identity"))

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    source: Mapped[str]
    name: Mapped[str]
    identity: Mapped[str]  # SHA-256 over code, configuration and weights
    code_sha256: Mapped[str | None] = mapped_column(ForeignKey("code.sha256"))  # None: only a file
    transform_sha256: Mapped[str | None] = mapped_column(ForeignKey("code.sha256"))
    transform: Mapped[str | None]
    task: Mapped[str]
    dataset: Mapped[str]
    metric: Mapped[str]
    hyperparameters: Mapped[Json]
    configuration_source: Mapped[str]  # trial:<uid> or default
    input_shape: Mapped[list[int] | None]  # N, C, H, W
    input_dtype: Mapped[str]
    classes: Mapped[int]
    inputs: Mapped[Json | None]  # {"tensors": [{shape, dtype}]}; None: one image, as input_shape says
    layout: Mapped[str] = mapped_column(server_default="nhwc")
    model_format: Mapped[str] = mapped_column(server_default="lemur")  # how code and file become a network
    entry_point: Mapped[str | None]  # class or factory
    weights: Mapped[str]  # init:seed=0 or a file's SHA-256
    weights_suffix: Mapped[str | None]  # of that file in the artifact store
    accuracy: Mapped[float | None]
    parameters: Mapped[int | None]
    state_dict_sha256: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Campaign(Base):
    """One request: these models x these precisions x these pools x these backends."""

    __tablename__ = "campaign"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    state: Mapped[str]
    priority: Mapped[int] = mapped_column(SmallInteger)
    request: Mapped[Json]  # as submitted; a resume is compared with it
    precisions: Mapped[list[str]]
    pools: Mapped[list[str]]
    backends: Mapped[list[str]]
    mode: Mapped[str] = mapped_column(server_default="standard")
    settings: Mapped[Json]  # limits and protocol in force at submit
    hooks_run_at: Mapped[datetime | None]  # end-of-campaign hooks; None: it has not ended since they ran
    hooks_problem: Mapped[str | None]  # which of them failed, and how
    submitted_by: Mapped[str | None]  # NNLITE_USER, or an account; None: by an earlier release
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Leased:
    """Columns of every kind of work: its state, its counters and its lease."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    state: Mapped[str]
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    attempt: Mapped[int] = mapped_column(server_default="0")  # number of the last claim: the fencing token
    strikes: Mapped[int] = mapped_column(server_default="0")
    losses: Mapped[int] = mapped_column(server_default="0")
    owner_node: Mapped[str | None]
    owner_instance: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    deadline: Mapped[datetime | None]
    stage: Mapped[str | None]  # of the running attempt, or of the last one
    failure_class: Mapped[str | None]
    reason: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Work(Leased):
    """Columns of conversions and benchmarks: also their campaign and their messages."""

    priority: Mapped[int] = mapped_column(SmallInteger)
    sent_at: Mapped[datetime] = mapped_column(server_default=func.now())

    @declared_attr
    def campaign_id(cls) -> Mapped[uuid.UUID]:
        """The campaign of this work."""
        return mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"))


class Conversion(Work, Base):
    """A unit of work: converting one model into artifacts."""

    __tablename__ = "conversion"
    __table_args__ = (
        UniqueConstraint("campaign_id", "model_id"),
        Index(None, "campaign_id", "state"),
        Index("ix_conversion_queued", "priority", "sent_at", postgresql_where=text("state = 'queued'")),
        # One running conversion per identity, so that no key of the cache is ever converted twice.
        Index("uq_conversion_running", "identity", unique=True, postgresql_where=text("state = 'running'")),
    )

    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("model.id"))
    identity: Mapped[str]
    cached: Mapped[bool | None]  # all artifacts came from the cache
    timings_ns: Mapped[Json | None]  # per stage
    peak_rss_kb: Mapped[int | None]


class Artifact(MappedAsDataclass, Base, kw_only=True):
    """One `.tflite` file, stored once under its content hash, with provenance and parity.

    Also the record of an artifact in memory, read by `rows.from_row` and written by `rows.to_row`.
    """

    __tablename__ = "artifact"
    __table_args__ = (Index(None, "identity", "precision"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, init=False)
    cache_key: Mapped[str] = mapped_column(unique=True)
    identity: Mapped[str]
    precision: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int]
    path: Mapped[str]  # relative to the artifact store
    converter: Mapped[str]  # libraries and versions
    rewrites: Mapped[list[str]]
    operators: Mapped[Json]  # operator name -> count
    graph_operators: Mapped[Json | None]  # the same of the network's graph; None: not known
    inputs: Mapped[Json]  # {"tensors": [{name, shape, dtype, quantization}]}
    outputs: Mapped[Json]
    reference_outputs: Mapped[list[str]]  # paths of raw host outputs for the seeded input
    seed: Mapped[int]
    parity_state: Mapped[str]
    parity: Mapped[Json | None]  # None: no network to compare with
    parameters: Mapped[int | None]
    state_dict_sha256: Mapped[str | None]
    input_shape: Mapped[list[int]]
    timings_ns: Mapped[Json]
    peak_rss_kb: Mapped[int | None]
    calibration: Mapped[Json | None]  # calibration data of int8 and its provenance
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), init=False)

    def __post_init__(self) -> None:
        self.id = row_id("artifact", self.cache_key)

    @property
    def format(self) -> ArtifactFormat:
        """The format of its file."""
        return ArtifactFormat(self.path.rpartition(".")[2])


class Evaluation(MappedAsDataclass, Base, kw_only=True):
    """Accuracy of an artifact and its network on labelled samples, or why there is none. Also its record."""

    __tablename__ = "evaluation"
    __table_args__ = (UniqueConstraint("artifact_id", "data"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True, init=False)
    artifact_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("artifact.id", ondelete="CASCADE"))
    data: Mapped[str]  # path of the packed samples in the artifact store, which names their hash
    name: Mapped[str]  # of the user's folder or file
    seed: Mapped[int]  # of the choice of samples
    samples: Mapped[int | None] = mapped_column(default=None)  # how many were run
    top1: Mapped[float | None] = mapped_column(default=None)  # shares of them
    top5: Mapped[float | None] = mapped_column(default=None)  # None: there are no more than five classes
    torch_top1: Mapped[float | None] = mapped_column(default=None)  # None: a pre-built file has no network
    torch_top5: Mapped[float | None] = mapped_column(default=None)
    no_worse: Mapped[float | None] = mapped_column(default=None)  # right, or PyTorch is wrong
    reason: Mapped[str | None] = mapped_column(default=None)  # why there is no accuracy
    inputs: Mapped[str | None] = mapped_column(default=None)  # path of its samples for devices, in the store
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), init=False)


class DeviceEvaluation(MappedAsDataclass, Base, kw_only=True):
    """Accuracy of an artifact on labelled samples, on a device and backend. Also its record."""

    __tablename__ = "device_evaluation"
    __table_args__ = (
        UniqueConstraint("artifact_id", "data", "device_id", "backend"),
        Index(None, "device_id"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True, init=False)
    artifact_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("artifact.id", ondelete="CASCADE"))
    data: Mapped[str]  # as of `evaluation`
    device_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("device.id", ondelete="CASCADE"))
    backend: Mapped[str]
    runtime: Mapped[str]  # name and version
    samples: Mapped[int | None] = mapped_column(default=None)  # the first so many of the host's
    top1: Mapped[float | None] = mapped_column(default=None)
    top5: Mapped[float | None] = mapped_column(default=None)
    no_worse: Mapped[float | None] = mapped_column(default=None)
    reason: Mapped[str | None] = mapped_column(default=None)  # why there is no accuracy
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), init=False)


class RefusedPrecision(MappedAsDataclass, Base, kw_only=True):
    """A precision that failed to convert; its cache key is not tried again. Also its record in memory."""

    __tablename__ = "refused_precision"
    __table_args__ = (UniqueConstraint("conversion_id", "precision"), Index(None, "cache_key"))

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True, init=False)
    conversion_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("conversion.id", ondelete="CASCADE"), init=False
    )
    cache_key: Mapped[str]
    precision: Mapped[str]
    converter: Mapped[str]  # libraries and versions
    stage: Mapped[str]
    failure_class: Mapped[str] = mapped_column(server_default="model")
    reason: Mapped[str]
    details: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), init=False)


class RuntimeCheck(Leased, Base):
    """A unit of work: running one `.tflite` file with one version of the phones' runtime; no campaign."""

    __tablename__ = "runtime_check"
    __table_args__ = (
        UniqueConstraint("artifact_sha256", "runtime_version"),
        Index("ix_runtime_check_running", "lease_until", postgresql_where=text("state = 'running'")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    artifact_sha256: Mapped[str]
    runtime_version: Mapped[str]  # of TensorFlow Lite
    # Views take the check that started last: a row that has not started yet counts from its creation.
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    verdict: Mapped[str | None]  # accepted, refused, different
    operator: Mapped[str | None]  # the refused one, where the runtime names it
    operator_version: Mapped[int | None]
    parity: Mapped[Json | None]  # against the host's outputs; None: nothing was compared


class Device(Base):
    """One emulator, phone, or the host itself."""

    __tablename__ = "device"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    pool: Mapped[str]
    state: Mapped[str]
    state_since: Mapped[datetime] = mapped_column(server_default=func.now())
    owner_node: Mapped[str | None]
    context: Mapped[Json | None]  # its description; None: it was never ready
    recovery_step: Mapped[str | None]  # running now, or the last one reached; None: healthy
    reason: Mapped[str | None]  # why it is in its state
    canary_ns: Mapped[int | None]  # p25 of its last correct canary
    canary_at: Mapped[datetime | None]
    fast_speeds: Mapped[Json | None]  # by CPU configuration; see `FastSpeeds`
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DeviceCanary(Base):
    """One run of the canary around a measurement."""

    __tablename__ = "device_canary"
    __table_args__ = (Index(None, "device_id", "configuration", "id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    device_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("device.id"))
    configuration: Mapped[str]  # runtime, threads and cores: what its speed depends on
    ns: Mapped[int]  # 25th percentile of its inferences
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class CanaryChange(Base):
    """A lasting change of the speed of a device's canary."""

    __tablename__ = "canary_change"
    __table_args__ = (Index(None, "device_id", "configuration", "canary_id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    device_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("device.id"))
    configuration: Mapped[str]
    canary_id: Mapped[int]  # the last canary when it was noticed
    before_ns: Mapped[int]  # median of the canaries before
    after_ns: Mapped[int]  # and since
    since: Mapped[datetime]  # the first canary of the new speed
    reopened: Mapped[int]  # artifacts that are measured again for it
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Benchmark(Work, Base):
    """A unit of work: one run of measuring one artifact on one device of a pool."""

    __tablename__ = "benchmark"
    __table_args__ = (
        UniqueConstraint("campaign_id", "artifact_id", "pool", "run"),
        Index(None, "campaign_id", "state"),
        Index(None, "conversion_id"),
        Index("ix_benchmark_queued", "priority", "sent_at", postgresql_where=text("state = 'queued'")),
        Index("ix_benchmark_running", "lease_until", postgresql_where=text("state = 'running'")),
    )

    conversion_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("conversion.id", ondelete="CASCADE"))
    artifact_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("artifact.id"))
    pool: Mapped[str]
    run: Mapped[int] = mapped_column(server_default="1")  # numbered for each artifact and pool of a campaign
    purpose: Mapped[str] = mapped_column(server_default="first")  # why this run is made
    backend: Mapped[str | None]  # what is measured now
    report: Mapped[Json | None]  # the enriched report of all measurements, their samples left out


class Measurement(Base):
    """The result for one backend and number of threads: timings, memory, device context, verdict."""

    __tablename__ = "measurement"
    __table_args__ = (UniqueConstraint("benchmark_id", "backend", "threads"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    benchmark_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("benchmark.id", ondelete="CASCADE"))
    device_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("device.id"))
    attempt: Mapped[int]
    backend: Mapped[str]
    threads: Mapped[int]  # of the CPU, also where another backend leaves nodes to it
    kind: Mapped[str]  # kind of the device: emulator, phone, host
    verdict: Mapped[str]
    reasons: Mapped[list[str]]
    noise_cause: Mapped[str | None]  # of a noisy or throttled one
    asked_cores: Mapped[str | None]  # by --cores: fast, all or numbers; None: as the scheduler likes
    cores: Mapped[list[int] | None]  # that the measuring thread could run on; None: not known
    clocks: Mapped[str | None]  # clock policy in force on a phone
    conditions: Mapped[list[str] | None]  # what spoils a phone's number; None: no phone, or not asked
    shape: Mapped[str | None]  # levels of the run; None: too few samples
    error: Mapped[str | None]
    runs: Mapped[int]
    init_ns: Mapped[int | None]  # without a cache
    init_cold_ns: Mapped[int | None]  # by a process that found no cache, and wrote one
    init_warm_ns: Mapped[int | None]  # by the next one, which found it
    first_ns: Mapped[int | None]
    mean_ns: Mapped[int | None]
    median_ns: Mapped[int | None]
    median_low_ns: Mapped[int | None]  # bounds of the median's 95 % interval; None: too few samples
    median_high_ns: Mapped[int | None]
    p90_ns: Mapped[int | None]
    p95_ns: Mapped[int | None]
    p99_ns: Mapped[int | None]
    min_ns: Mapped[int | None]
    max_ns: Mapped[int | None]
    std_ns: Mapped[int | None]
    cv: Mapped[float | None]
    energy_method: Mapped[str | None]  # rapl, rails, perfetto or battery: never compare two of them
    energy_uj: Mapped[float | None]  # of one inference; None: the machine has no counters, or hides them
    energy_low_uj: Mapped[float | None]  # bounds of its 95 % interval
    energy_high_uj: Mapped[float | None]
    energy_error: Mapped[str | None]  # why the pass that --energy asks for has none
    peak_rss_kb: Mapped[int | None]
    baseline_rss_kb: Mapped[int | None]
    memory: Mapped[Json | None] = mapped_column(JSONB(none_as_null=True))  # by stage, as in the report
    huge_pages_kb: Mapped[int | None]  # of the process's memory; None: none were asked for
    delegate: Mapped[str | None]
    delegated_nodes: Mapped[int | None]
    total_nodes: Mapped[int | None]
    # Operators that it refused, as in the report; None: none, or measured by a release that did not ask.
    delegate_refusals: Mapped[list[Json] | None] = mapped_column(JSONB(none_as_null=True))
    samples_ns: Mapped[list[int]]
    disturbance: Mapped[Json | None] = mapped_column(JSONB(none_as_null=True))  # as in the report
    profile: Mapped[Json | None] = mapped_column(JSONB(none_as_null=True))  # as there, without operators
    counters: Mapped[Json | None] = mapped_column(JSONB(none_as_null=True))  # of the processor, as there
    sustained: Mapped[Json | None] = mapped_column(JSONB(none_as_null=True))  # as there, with its series
    # Gated sampling; None: every run counted, or there is no latency.
    fast_ns: Mapped[int | None]  # the gate's canary on a fast core
    counted_runs: Mapped[int | None]
    counted_share: Mapped[float | None]  # of the time of all runs
    all_median_ns: Mapped[int | None]  # of all runs, counted or not
    all_min_ns: Mapped[int | None]
    canaries_ns: Mapped[list[int] | None]  # before each slice, and after the last
    slice_runs: Mapped[list[int] | None]  # number of samples of each slice
    slice_first_ns: Mapped[list[int] | None]  # first run of each slice, which is no sample
    manifest: Mapped[str | None]  # canonical JSON; None: measured by a release that had none
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class OperatorTime(Base):
    """One operator of a profiled measurement, as the runtime executed it."""

    __tablename__ = "operator_time"

    measurement_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("measurement.id", ondelete="CASCADE"), primary_key=True
    )
    index: Mapped[int] = mapped_column(primary_key=True)  # in order of execution
    name: Mapped[str]  # the runtime's
    delegate: Mapped[str | None]  # None: a kernel of the runtime itself
    node: Mapped[int | None]  # of the artifact; None: it cannot be told
    type: Mapped[str | None]  # of that node
    output: Mapped[str | None]  # name of that node's first output
    time_ns: Mapped[int]
    share: Mapped[float]  # of the sum of all operators


class Attempt(Base):
    """One attempt at a unit of work: its owner, its times, its outcome."""

    __tablename__ = "attempt"
    __table_args__ = (
        UniqueConstraint("work_id", "number"),
        Index(None, "campaign_id"),
        Index(None, "ended_at"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    kind: Mapped[str]  # conversion, benchmark or runtime_check
    work_id: Mapped[uuid.UUID]
    # None: a runtime check
    campaign_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"))
    number: Mapped[int]
    owner_node: Mapped[str]
    owner_instance: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]  # done, cancelled, skipped or a failure class; None while it runs
    stage: Mapped[str | None]
    reason: Mapped[str | None]
    details: Mapped[Json | None]


class Incident(Base):
    """A fault of a device and its recovery."""

    __tablename__ = "incident"
    __table_args__ = (
        Index(None, "device_id", "created_at"),
        # One open incident per device: a fault during an open incident belongs to it.
        Index("uq_incident_open", "device_id", unique=True, postgresql_where=text("NOT healed")),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    device_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("device.id"))
    benchmark_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("benchmark.id", ondelete="SET NULL"))
    fault: Mapped[str]  # its kind
    reason: Mapped[str]  # for people; one more line for each fault that followed
    recovery_steps: Mapped[list[str]]  # in the order in which they ran
    healed: Mapped[bool]
    healed_at: Mapped[datetime | None]
    duration_ns: Mapped[int]  # from fault to ready; 0 while it is open
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
