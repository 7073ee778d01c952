"""Schema of benchmark reports (versioned), and validation of the reports of devices.

`RunReport` is what one measuring process (the host's runner, the Android app) has seen: nothing in it is
trusted before it was validated here. `MeasurementReport` is one backend, and of the CPU one number of
threads, with statistics and verdict; `BenchmarkReport` is all of one benchmark, and its top level holds the
enriched report of NN Lite, field for field. Durations are integer nanoseconds, memory is kB (1024 bytes),
numbers are finite. The schema version is raised when a field changes its meaning or is removed.

`make schema` (`tools/make_schema.py`) writes `report.schema.json`.

More than 300 lines: one JSON Schema is generated from these classes, and the app's tests use it too.
"""

from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from nnlite.vocabulary import (
    MAX_THREAD_COUNTS,
    Backend,
    ClockPolicy,
    Condition,
    DeviceKind,
    EnergyMethod,
    Mode,
    ParityState,
    Precision,
    QuietMode,
    Reason,
    Refusal,
    Shape,
    Stage,
    Verdict,
)

SCHEMA_FILE = Path(__file__).with_name("report.schema.json")

#: Most samples that one measurement keeps.
MAX_SAMPLES = 100_000
#: Longest compressed samples of a run report, characters of base64.
MAX_SAMPLES_TEXT = 64 * 1024 * 1024
#: Most slices of timed runs: two hours of them.
MAX_SLICES = 200_000
#: Most operators of an artifact.
MAX_OPERATORS = 100_000
#: Most operators that a delegate refuses.
MAX_REFUSALS = 256
#: Most values of a series: one for each core, or for each second of more than an hour.
MAX_SERIES = 4096
#: Of one benchmark: the CPU with each number of threads, with and without XNNPACK; the other backends once.
MAX_MEASUREMENTS = 2 * MAX_THREAD_COUNTS + 2

Count = Annotated[int, Field(ge=0, le=2**53)]
Nanoseconds = Annotated[int, Field(ge=0, le=2**62)]
Kilobytes = Annotated[int, Field(ge=0, le=2**42)]
Counts = Annotated[tuple[Count, ...], Field(max_length=MAX_SERIES)]
PartialCounts = Annotated[tuple[Count | None, ...], Field(max_length=MAX_SERIES)]
Times = Annotated[tuple[Nanoseconds, ...], Field(max_length=MAX_SERIES)]
Ratio = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


def _without_nul(text: str) -> str:
    """Return `text` as Postgres can store it."""
    return text.replace("\0", "\ufffd")


Word = Annotated[str, StringConstraints(max_length=300), AfterValidator(_without_nul)]
Text = Annotated[str, StringConstraints(max_length=20_000), AfterValidator(_without_nul)]
Int32 = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Scalar = int | float | str | bool | None


class Part(BaseModel):
    """Base of report parts: frozen, no unknown fields, no infinite values, no type coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Delegation(Part):
    """How much of the graph the delegate took."""

    delegate: Word = Field(description="as the runtime calls it, such as TfLiteXNNPackDelegate")
    delegated_nodes: Count
    total_nodes: Count = Field(description="nodes of the graph before delegation")
    partitions: Count | None = Field(
        None, description="pieces the graph was cut into, delegated or not; null where only a log would tell"
    )
    counted_from: Literal["log", "graph"] = Field(
        description="the runtime's log line, or its delegated graph"
    )


class DelegateRefusal(Part):
    """An operator that the delegate left to another kernel."""

    operator: Word = Field(description="type of the node, such as CAST")
    nodes: Count | None = Field(None, description="how many; null: the delegate names operators only")
    reason: Text | None = Field(None, description="in the delegate's own words; null: it gives none")


class Output(Part):
    """One output tensor; its bytes are in a file next to the run report."""

    name: Word
    dtype: Annotated[str, StringConstraints(max_length=30, pattern=r"^[a-z]+[0-9]*$")] = Field(
        description="NumPy name"
    )
    shape: Annotated[tuple[Count, ...], Field(max_length=16)]
    scale: float | None = Field(None, description="quantization: value = scale x (integer - zero_point)")
    zero_point: Int32 | None = None
    file: Word = Field(description="file name without folder; raw, little-endian")
    size_bytes: Count | None = None
    sha256: Sha256


class RunFile(Part):
    """A file that a measuring process wrote next to its report."""

    file: Word = Field(description="file name without folder")
    size_bytes: Count
    sha256: Sha256


SliceCores = Annotated[dict[Word, Count], Field(max_length=MAX_SERIES)]
Refusals = Annotated[tuple[DelegateRefusal, ...], Field(max_length=MAX_REFUSALS)]


class Latency(Part):
    """Statistics over all samples, nanoseconds; null: too few samples."""

    mean_ns: Nanoseconds
    median_ns: Nanoseconds
    median_low_ns: Nanoseconds | None = Field(
        None, description="lower bound of the median's 95 % interval, for samples that depend on each other"
    )
    median_high_ns: Nanoseconds | None = Field(None, description="its upper bound")
    p90_ns: Nanoseconds | None = Field(description="from 64 samples on")
    p95_ns: Nanoseconds | None = Field(description="from 130 samples on")
    p99_ns: Nanoseconds | None = Field(description="from 662 samples on")
    min_ns: Nanoseconds
    max_ns: Nanoseconds
    std_ns: Nanoseconds = Field(description="population standard deviation")
    cv: Ratio = Field(description="std / mean; shown, never judged")
    mad_ratio: Ratio = Field(description="1.4826 x median absolute deviation / median")
    slice_drift: Ratio | None = Field(
        description="(max - min) / median of ten slices' medians; null: fewer than 50 samples"
    )


Durations = Annotated[tuple[Nanoseconds, ...], Field(max_length=MAX_SLICES)]


class Slices(Part):
    """Timed runs in slices between canaries (gated sampling), in order of time, nanoseconds."""

    canaries_ns: Durations = Field(
        description="duration of the gate's canary before each slice, and after the last"
    )
    slice_runs: Annotated[tuple[Count, ...], Field(max_length=MAX_SLICES)] = Field(
        description="number of samples of each slice"
    )
    slice_first_ns: Durations = Field(
        description="first run of each slice, which is no sample; empty: it is one, of a slow model"
    )
    learning_ns: Durations = Field(
        (), description="canaries before the first slice, where the device's fast speed was not known"
    )


class Gating(Slices):
    """Which slices counted: those between two canaries of a fast core; `latency` is of their samples."""

    fast_ns: Nanoseconds = Field(description="duration of the gate's canary on a fast core")
    enough: bool = Field(description="false: too few counted, so `latency` is of all samples")
    counted_runs: Count
    counted_share: Ratio = Field(description="of the time of all timed runs")
    slow_share: Ratio = Field(description="share of the canaries that were slower than the gate allows")
    slow_ratio: Ratio | None = Field(description="median of those / fast_ns; null: there are none")
    all_median_ns: Nanoseconds = Field(description="of all samples, counted or not")
    all_min_ns: Nanoseconds


class DeviceState(Part):
    """Changing state of a device; null where the device does not report it."""

    at: AwareDatetime
    free_ram_kb: Kilobytes | None = None
    available_ram_kb: Kilobytes | None = None
    cached_kb: Kilobytes | None = None
    load_1m: Ratio | None = None
    governor: Word | None = None
    frequency_khz: Count | None = Field(None, description="mean of the cores that measure")
    frequencies_khz: PartialCounts = Field(
        (), description="each core's; null: it is offline or does not tell"
    )
    temperatures_c: Annotated[dict[Word, float], Field(max_length=64)] = {}
    battery_percent: Ratio | None = None
    charging: bool | None = None
    thermal_status: Count | None = Field(None, description="Android's PowerManager.THERMAL_STATUS_*")
    power_saver: bool | None = Field(None, description="Android's battery saver is on")
    mirrored: bool | None = Field(
        None, description="the screen is recorded or shown elsewhere, by what is seen"
    )
    clocks_locked: bool | None = Field(
        None, description="each core's lowest and highest frequency are equal: a person with root locked them"
    )
    cpuset: Word | None = Field(None, description="/proc/self/cpuset of the measuring process")


class Disturbance(Part):
    """What disturbed the timed runs, as the kernel counts it; null where it does not say."""

    window_ns: Nanoseconds = Field(description="between the two readings, around the timed runs")
    cores: Count = Field(description="that measure; the shares and loads below are theirs")
    own_cores: Ratio | None = Field(None, description="mean number of cores that the measuring process used")
    steal: Ratio | None = Field(None, description="share of their time that a hypervisor gave to others")
    foreign_cores: Ratio | None = Field(None, description="mean number of them that other processes used")
    cpu_pressure: Ratio | None = Field(
        None, description="share of the time in which something on the machine waited for a core"
    )
    memory_pressure: Ratio | None = Field(None, description="the same for memory")
    io_pressure: Ratio | None = Field(None, description="the same for input and output")
    frequency_min_khz: Count | None = Field(None, description="of the fastest core, over the window")
    frequency_max_khz: Count | None = None
    migrations: Count | None = Field(None, description="of the measuring process's threads between cores")
    voluntary_switches: Count | None = None
    involuntary_switches: Count | None = None
    minor_faults: Count | None = None
    major_faults: Count | None = Field(None, description="page faults that read from a disk")


class ThermalSeries(Part):
    """Android's temperature during warm-up and timed runs: once a second, and at each new status."""

    at_ns: Times = Field(description="since the beginning of the warm-up")
    status: PartialCounts = Field(description="PowerManager.THERMAL_STATUS_*")
    headroom: Annotated[tuple[float | None, ...], Field(max_length=MAX_SERIES)] = Field(
        description="1 is where severe throttling begins; from API 30 on; null: not reported"
    )

    @model_validator(mode="after")
    def _equally_long(self) -> Self:
        if not len(self.at_ns) == len(self.status) == len(self.headroom):
            raise ValueError("at_ns, status and headroom differ in length")
        return self


class Bins(Part):
    """Continuous inference in bins of about a second, in order of time; a longer inference is a bin too."""

    end_ns: Times = Field(description="since the beginning of the first inference")
    runs: Counts = Field(description="inferences that ended in each")
    median_ns: Times = Field(description="of the inferences of each")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 < len(self.end_ns) == len(self.runs) == len(self.median_ns):
            raise ValueError("end_ns, runs and median_ns are empty or differ in length")
        if any(first >= last for first, last in pairwise((0, *self.end_ns))) or 0 in self.runs:
            raise ValueError("bins are not in order of time, or one has no length or no inference")
        return self


class Sustained(Part):
    """Latency over time of continuous inference, from another pass; a level is a stretch of equal bins."""

    error: Text | None = Field(None, description="why there is no latency")
    seconds: Count = Field(description="that were asked for")
    first_level_ns: Nanoseconds | None = Field(None, description="median of the bins of the first level")
    plateau_ns: Nanoseconds | None = Field(None, description="median of the bins of the last level")
    slower_after_ns: Nanoseconds | None = Field(
        None,
        description="until the first level that is slower than the first one by more than the setting "
        "`shape_tolerance`; null: there is none",
    )
    shape: Shape | None = Field(None, description="of the bins; null: fewer than ten")
    bins: Bins | None = None
    thermal: ThermalSeries | None = Field(None, description="Android only, from API 29 on")


class HardwareCounters(Part):
    """What a phone's processor counted of an inference, all threads of the app, from a pass of its own."""

    error: Text | None = Field(None, description="why there is none")
    seconds: Ratio | None = Field(None, description="that were counted")
    per_inference: Annotated[dict[Word, Ratio], Field(max_length=16)] = Field(
        {}, description="simpleperf's events, such as cpu-cycles, instructions, cache-misses"
    )


class Clocks(Part):
    """Clock policy of an Android phone during a measurement."""

    policy: ClockPolicy = Field(description="in force")
    asked: ClockPolicy = Field(description="by the setting `android.clocks`")
    note: Word | None = Field(None, description="why another policy than that is in force")


class BatterySeries(Part):
    """Charge and voltage of a phone's battery during continuous inference, in order of time."""

    at_ns: Times
    charge_uah: PartialCounts = Field(description="what is left, microampere-hours; null: it has no counter")
    voltage_mv: PartialCounts
    plugged: Annotated[tuple[bool | None, ...], Field(max_length=MAX_SERIES)] = Field(
        description="a charger or a computer feeds the phone; null: unknown"
    )

    @model_validator(mode="after")
    def _equally_long(self) -> Self:
        if not len(self.at_ns) == len(self.charge_uah) == len(self.voltage_mv) == len(self.plugged):
            raise ValueError("at_ns, charge_uah, voltage_mv and plugged differ in length")
        return self


class Energy(Part):
    """Energy of an inference: the mean power of what the method counts, times its mean duration."""

    method: EnergyMethod = EnergyMethod.RAPL
    packages: Count | None = Field(
        None, description="of a host: processor packages, each with all that runs on it, idle power included"
    )
    seconds: Ratio = Field(description="from the first reading to the last, while the artifact ran")
    power_w: Ratio = Field(description="mean of all packages or rails together, or of the battery")
    rails_w: Annotated[dict[Word, Ratio], Field(max_length=256)] = Field(
        {}, description="of a phone: mean of each power rail"
    )
    energy_uj: Ratio = Field(description="of one inference, microjoules")
    energy_low_uj: Ratio | None = Field(description="bounds of its 95 % interval; null: too few readings")
    energy_high_uj: Ratio | None


class Initialization(Part):
    """Initialization with a cache: by a process that found none and wrote it, and by the next one."""

    cache: Word = Field(description="what is cached: XNNPACK's packed weights, the GPU delegate's programs")
    init_cold_ns: Nanoseconds | None = Field(None, description="without the cache, writing it included")
    init_warm_ns: Nanoseconds | None = Field(None, description="in a second process, which found the cache")
    init_error: Text | None = Field(None, description="why one is missing")


class StageMemory(Part):
    """Memory of the measuring process at the end of a stage, a range; null where the kernel does not say."""

    model_kb: Kilobytes | None = Field(
        description="surely the model's: growth of memory that no file backs, and the artifact's mapped file"
    )
    process_kb: Kilobytes | None = Field(
        description="what the process had: the peak of its resident memory so far, libraries and all"
    )


class Memory(Part):
    """Host memory by stage; without GPU memory."""

    load: StageMemory = Field(description="after the runtime's initialization")
    first_run: StageMemory = Field(description="after the first inference")
    steady: StageMemory | None = Field(None, description="at the end of the warm-up")


class RunReport(Part):
    """Report of one measuring process: one artifact on one backend; untrusted until validated."""

    schema_version: Literal[1] = 1
    runtime: Word
    runtime_version: Word
    threads: Count
    cores: Counts = Field((), description="that the measuring thread may run on")
    cores_error: Text | None = Field(
        None, description="Android only: why they are not those that were asked for"
    )
    stage: Stage = Field(description="where it ended; `run` when it did all")
    error: Text | None = Field(None, description="what the runtime refused, in its own words")
    refusal: Refusal | None = Field(None, description="with an error: who refused; null: the runtime")
    init_ns: Nanoseconds | None = Field(None, description="constructor to ready, without a cache")
    load_ns: Nanoseconds | None = Field(None, description="host only: the constructor")
    prepare_ns: Nanoseconds | None = Field(None, description="host only: allocating tensors")
    first_inference_ns: Nanoseconds | None = None
    warmup_runs: Count = 0
    warmup_ns: Nanoseconds = 0
    run_ns: Nanoseconds = Field(0, description="first timed run's start to last one's end")
    samples: Annotated[str, StringConstraints(max_length=MAX_SAMPLES_TEXT)] = Field(
        "", description="base64 of zlib of little-endian int64 nanoseconds, in order of time"
    )
    samples_file: RunFile | None = Field(
        None, description="where `samples` would be large: its bytes before base64"
    )
    samples_complete: bool = Field(True, description="false: thinned evenly by the measuring process")
    slices: Slices | None = Field(None, description="gated sampling; null: every run counts")
    bins: Bins | None = Field(
        None, description="of a pass of continuous inference, which has no samples; null: it is none"
    )
    runs: Count | None = Field(None, description="timed runs; null: as many as there are samples")
    latency: Latency | None = Field(
        None, description="the measuring process's own statistics; used where its samples are thinned"
    )
    peak_rss_kb: Kilobytes | None = Field(
        None, description="VmHWM from before the model to the end of the warm-up; without GPU memory"
    )
    baseline_rss_kb: Kilobytes | None = Field(None, description="VmRSS before the model")
    memory: Memory | None = None
    huge_pages_kb: Kilobytes | None = Field(
        None, description="host only: of its memory, in huge pages; null: none were asked for"
    )
    pss_before_kb: Kilobytes | None = None
    pss_after_kb: Kilobytes | None = None
    delegation: Delegation | None = None
    delegate_messages: Text | None = Field(
        None, description="Android only: what the delegate wrote, at most 512 bytes; null: unknown"
    )
    delegate_refusals: Refusals = Field((), description="on Android the worker reads them from the messages")
    nnapi_errno: Int32 | None = Field(None, description="npu only: NNAPI's last error code; 0: none")
    precision_loss: bool | None = Field(None, description="gpu only: may compute in fp16")
    in_front: bool | None = Field(
        None, description="Android only: the app had the window focus from warm-up to end"
    )
    disturbance: Disturbance | None = None
    sustained_performance: bool | None = Field(
        None,
        description="Android only: the window asked for sustained performance, and the device has it or not",
    )
    cooled_ns: Nanoseconds | None = Field(
        None, description="Android only: wait for a cool device before the initialization"
    )
    thermal: ThermalSeries | None = Field(None, description="Android only, from API 29 on")
    slice_cores: SliceCores | None = Field(
        None, description="Android only: slices of 40 ms of the timed runs, by the core each ended on"
    )
    battery: BatterySeries | None = Field(None, description="Android only: of continuous inference")
    energy: Energy | None = Field(None, description="the worker adds it, where there is a meter")
    energy_error: Text | None = Field(None, description="why a pass for it has none")
    counters: HardwareCounters | None = Field(None, description="of a pass for it; the worker adds it")
    initialization: Initialization | None = Field(None, description="of other processes; the worker adds it")
    before: DeviceState | None = Field(None, description="Android only: as the app saw it before the model")
    after: DeviceState | None = Field(None, description="Android only: as the app saw it after the runs")
    folder: Word | None = Field(
        None, description="Android only: where the files lie on the device; null: sent as status pieces"
    )
    outputs: Annotated[tuple[Output, ...], Field(max_length=256)] = ()


class OperatorTime(Part):
    """One operator as the runtime executes it, and the node of the artifact that it belongs to."""

    index: Count = Field(description="in order of execution")
    name: Word = Field(description="the runtime's, such as `Convolution (NHWC, F32) IGEMM`")
    delegate: Word | None = Field(description="null: a kernel of the runtime itself")
    node: Count | None = Field(description="in the artifact; null: it cannot be told")
    type: Word | None = Field(description="of that node, such as CONV_2D")
    output: Text | None = Field(description="name of that node's first output")
    time_ns: Nanoseconds = Field(description="mean of an inference; the profiler counts whole microseconds")
    share: Ratio = Field(description="of the sum of all operators")


class Profile(Part):
    """Times of an artifact's operators, from a pass of its own with the runtime's profiler on."""

    error: Text | None = Field(None, description="why there is none")
    runs: Count = Field(0, description="inferences whose means these are: the faster half of all")
    inference_ns: Nanoseconds | None = Field(None, description="their mean, with the profiler on")
    operators: Annotated[tuple[OperatorTime, ...], Field(max_length=MAX_OPERATORS)] = ()


class Canary(Part):
    """The speed of the machine itself, before and after: 25th percentile of the canary's runs."""

    before_p25_ns: Nanoseconds
    after_p25_ns: Nanoseconds
    drift: Ratio
    repeated: bool = Field(description="the first try drifted; this is the second")
    reused: bool = Field(
        False, description="the canary before is the one after the measurement before: nothing ran between"
    )


class Parity(Part):
    """Difference between the device's outputs and the host's, for the same artifact and input."""

    ok: bool
    rule: Word = Field(description="the measure and its limit")
    worst: float | None = Field(description="the measure on the worst output; null where shapes differ")
    limit: float


class Quiet(Part):
    """Whether the machine's own conversions were stopped from canary to canary."""

    mode: QuietMode
    quiet: bool
    waited_ns: Nanoseconds


class MeasuredOutput(Part):
    """One output of the device; where it is kept, its bytes are in the artifact store under their hash."""

    dtype: Word = Field(description="NumPy name")
    shape: Annotated[tuple[Count, ...], Field(max_length=16)]
    size_bytes: Count
    sha256: Sha256 = Field(description="of its raw little-endian bytes")
    kept: bool = Field(description="false: larger than the setting `max_output_mb` allows")


class DeviceAccuracy(Part):
    """Accuracy of an artifact on the device, on the first of the samples that the host evaluated."""

    samples: Count | None = None
    top1: Share | None = None
    top5: Share | None = Field(None, description="null: there are no more than five classes")
    no_worse: Share | None = Field(None, description="share of samples that it has right, or PyTorch wrong")
    reason: Text | None = Field(None, description="why there is no accuracy; null: there is")


class MeasurementReport(Part):
    """The result for one backend and number of threads: timings, memory, device state, verdict."""

    schema_version: Literal[1] = 1
    backend: Backend
    precision: Precision
    mode: Mode = Field(Mode.STANDARD, description="decides the bounds of warm-up and timed runs")
    verdict: Verdict
    reasons: Annotated[tuple[Reason, ...], Field(max_length=16)] = ()
    noise_cause: Word | None = Field(None, description="noisy or throttled only: why, as far as it was seen")
    shape: Shape | None = Field(None, description="levels of the timed runs; null: fewer than 50 samples")
    started_at: AwareDatetime
    runtime: Word
    runtime_version: Word
    threads: Count
    cores: Counts = Field((), description="that the measuring thread could run on")
    asked_cores: Word | None = Field(
        None, description="by the option --cores: fast, all or numbers; null: as the scheduler likes"
    )
    cores_error: Text | None = Field(None, description="why they are not those that were asked for")
    stage: Stage
    error: Text | None = None
    init_ns: Nanoseconds | None = None
    load_ns: Nanoseconds | None = None
    prepare_ns: Nanoseconds | None = None
    initialization: Initialization | None = Field(
        None, description="cold and warm; null: the runtime has no cache there, or it was not asked for"
    )
    first_inference_ns: Nanoseconds | None = Field(None, description="null with parity off")
    warmup_runs: Count = 0
    warmup_ns: Nanoseconds | None = Field(0, description="null with parity off")
    runs: Count = Field(0, description="timed runs, kept or not")
    run_ns: Nanoseconds | None = Field(0, description="null with parity off")
    latency: Latency | None = Field(None, description="null with parity off or an error")
    gating: Gating | None = Field(
        None, description="null: every timed run counted, or there is no latency; slices are of kept samples"
    )
    samples_ns: Annotated[tuple[Nanoseconds, ...], Field(max_length=MAX_SAMPLES)] = ()
    samples_kept: Literal["all", "uniform"] = Field(
        "all", description="uniform: a seeded uniform choice, in order of time; statistics used all"
    )
    samples_seed: Count = 0
    peak_rss_kb: Kilobytes | None = Field(None, description="host memory only; GPU memory is not in it")
    baseline_rss_kb: Kilobytes | None = None
    memory: Memory | None = Field(None, description="by stage, as a range")
    huge_pages_kb: Kilobytes | None = Field(
        None, description="host only: of its memory, in huge pages; null: none were asked for"
    )
    pss_before_kb: Kilobytes | None = None
    pss_after_kb: Kilobytes | None = None
    delegation: Delegation | None = None
    delegate_refusals: Refusals = ()
    nnapi_errno: int | None = None
    precision_loss: bool | None = None
    in_front: bool | None = None
    profile: Profile | None = Field(None, description="null: none was asked for, or there is no latency")
    sustained: Sustained | None = Field(
        None, description="null: it was not asked for, or there is no latency"
    )
    accuracy: DeviceAccuracy | None = Field(
        None, description="of the first number of threads; null: not asked for, or an error"
    )
    canary: Canary | None = None
    parity: Parity | None = Field(None, description="null where no expected outputs were at hand")
    outputs: Annotated[tuple[MeasuredOutput, ...], Field(max_length=256)] = Field(
        (), description="that `parity` was judged by; empty in reports of release 0.1"
    )
    artifact_parity: ParityState | None = Field(
        None, description="the artifact's outputs against PyTorch's; null in reports of release 0.1"
    )
    quiet: Quiet | None = None
    disturbance: Disturbance | None = Field(
        None, description="null with parity off: its window is that of the runs"
    )
    clocks: Clocks | None = Field(None, description="phones only")
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16)] = Field(
        (), description="phones only: what spoils the number without making it noisy"
    )
    sustained_performance: bool | None = None
    cooled_ns: Nanoseconds | None = Field(None, description="Android only: wait for a cool device")
    thermal: ThermalSeries | None = Field(None, description="Android only, from API 29 on")
    slice_cores: SliceCores | None = Field(
        None, description="Android only: slices of 40 ms of the timed runs, by the core each ended on"
    )
    energy: Energy | None = Field(
        None, description="of the timed runs of hosts, or of the pass that --energy asks for"
    )
    energy_error: Text | None = Field(None, description="why the pass that --energy asks for has none")
    counters: HardwareCounters | None = Field(
        None, description="null: it was not asked for, or there is no latency"
    )
    before: DeviceState | None = None
    after: DeviceState | None = None
    bounds: Annotated[dict[Word, Scalar], Field(max_length=64)] = Field(
        default={}, description="the measurement settings in force"
    )

    @property
    def executed_by(self) -> str:
        """What executed the artifact: the runtime and its version."""
        return f"{self.runtime} {self.runtime_version}".strip()


class ArmCore(Part):
    """What an ARM core says of itself, as /proc/cpuinfo prints it; null: it does not."""

    hardware: Word | None = Field(description="of the system on chip; kernels since about 4.14 print none")
    implementer: Word | None
    architecture: Word | None
    variant: Word | None
    part: Word | None
    revision: Word | None


class Cpu(Part):
    """The processor."""

    architecture: Word
    cores: Count = Field(description="logical processors that are online")
    vendor: Word | None
    features: Annotated[tuple[Word, ...], Field(max_length=1024)]
    model: Word | None = None
    arm: ArmCore | None = Field(None, description="Android only: the last core that describes itself")
    processors: Annotated[
        tuple[Annotated[dict[Word, Word], Field(max_length=64)], ...], Field(max_length=MAX_SERIES)
    ] = Field((), description="Android only: fields of each core in /proc/cpuinfo, without its features")


class DeviceContext(Part):
    """Constant attributes of a device; null where the device does not report them."""

    name: Word
    kind: DeviceKind
    pool: Word
    device_type: Word
    os_version: Word
    kernel: Word | None = None
    cpu: Cpu
    total_ram_kb: Kilobytes
    boot_id: Word | None = None
    machine: Word | None = Field(None, description="vendor and product of the machine or phone")
    environment: Annotated[tuple[Word, ...], Field(max_length=8)] = Field(
        (), description="host only: containers and hypervisors it runs in, as far as they can be seen"
    )
    soc: Word | None = None
    abi: Word | None = None
    api_level: Count | None = None
    build_fingerprint: Word | None = None
    debuggable: bool | None = Field(
        None, description="Android only: a debug or engineering build of the system"
    )
    quiet_mode: QuietMode
    measuring_cores: Counts = ()

    @property
    def usable_cores(self) -> int:
        """Number of cores to measure on: the device's, or those of its host that it is pinned to."""
        return min(self.cpu.cores, len(self.measuring_cores) or self.cpu.cores)


class AnalyticsMemory(Part):
    """The device's memory before the first measurement, kB."""

    total_ram: Kilobytes
    free_ram: Kilobytes | None
    available_ram: Kilobytes | None
    cached: Kilobytes | None


class DeviceAnalytics(Part):
    """The device in the format of NN Lite's enriched report."""

    timestamp: float = Field(description="seconds since 1970")
    memory: AnalyticsMemory
    cpu: Cpu


class Accuracy(Part):
    """Accuracy of the artifact on the host, and of its network in PyTorch, on the same labelled samples."""

    data: Word = Field(description="name of the user's folder or file")
    samples: Count
    seed: Count = Field(description="of their choice")
    top1: Share
    top5: Share | None = Field(description="null: there are no more than five classes")
    torch_top1: Share | None = Field(description="null: a pre-built file has no network")
    torch_top5: Share | None
    no_worse: Share | None = Field(description="share of samples that it has right, or PyTorch wrong")


class BenchmarkReport(Part):
    """One artifact on one device, all backends and threads; its first fields are NN Lite's report."""

    schema_version: Literal[1] = 1
    model_name: Word
    device_type: Word
    os_version: Word
    valid: bool = Field(description="the measurement that gives `duration` has the verdict `valid`")
    emulator: bool
    duration: Nanoseconds | None = Field(
        description="mean latency of the first of cpu, gpu, npu, cpu-plain that has a published one, of the "
        "CPU with the fewest threads; null: none has"
    )
    unit: Literal["ns"] = "ns"
    device_analytics: DeviceAnalytics
    precision: Precision
    artifact_sha256: Sha256
    accuracy: Accuracy | None = Field(None, description="null: the campaign names no labelled samples")
    nnlite_version: Word | None = Field(None, description="of the worker that wrote it; null: an earlier one")
    device: DeviceContext
    measurements: Annotated[tuple[MeasurementReport, ...], Field(min_length=1, max_length=MAX_MEASUREMENTS)]

    @classmethod
    def of(
        cls,
        *,
        model_name: str,
        artifact_sha256: str,
        device: DeviceContext,
        measurements: tuple[MeasurementReport, ...],
        accuracy: Accuracy | None = None,
    ) -> Self:
        """Return the report of one benchmark from its measurements."""
        by_backend = sorted(measurements, key=lambda m: (list(Backend).index(m.backend), m.threads))
        published = next(filter(is_published, by_backend), None)
        first = min(measurements, key=lambda m: m.started_at)
        state = first.before or DeviceState(at=first.started_at)
        memory = AnalyticsMemory(
            total_ram=device.total_ram_kb,
            free_ram=state.free_ram_kb,
            available_ram=state.available_ram_kb,
            cached=state.cached_kb,
        )
        return cls(
            model_name=model_name,
            device_type=device.device_type,
            os_version=device.os_version,
            valid=published is not None and published.verdict is Verdict.VALID,
            emulator=device.kind is DeviceKind.EMULATOR,
            duration=published.latency.mean_ns if published and published.latency else None,
            device_analytics=DeviceAnalytics(timestamp=state.at.timestamp(), memory=memory, cpu=device.cpu),
            precision=first.precision,
            artifact_sha256=artifact_sha256,
            accuracy=accuracy,
            nnlite_version=version("nnlite"),
            device=device,
            measurements=measurements,
        )


def is_published(measurement: MeasurementReport) -> bool:
    """Whether the latency of `measurement` may be shown with its verdict."""
    return measurement.latency is not None and measurement.verdict is not Verdict.INVALID
