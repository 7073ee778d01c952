"""Enumerations that rows, messages, reports and settings share.

Every value is stored as its text. Nothing here may import a library, so that
the small measuring process can use the same words as the services.

More than 300 lines: one list of all closed sets of words, each word with its meaning.
"""

from enum import StrEnum
from typing import Final

#: Name of the pool of hosts.
HOST_POOL: Final = "host"
#: Of a campaign: 0-9, larger is sooner.
DEFAULT_PRIORITY: Final = 5
#: Most numbers of threads that one campaign measures.
MAX_THREAD_COUNTS: Final = 16

#: Longest pass of continuous inference, seconds.
MAX_PASS_S: Final = 3600

#: Pairs of runs of a device from which on its intervals assume nothing (ADR 0023).
ENOUGH_PAIRS: Final = 19
#: Fields of a measurement's report that tell or bound its latency: null where that is withheld.
TELLING_LATENCY: Final = (
    "first_inference_ns",
    "warmup_ns",
    "run_ns",
    "disturbance",
    "thermal",
    "slice_cores",
)


class Precision(StrEnum):
    """The numeric format of an artifact."""

    FP32 = "fp32"
    FP16 = "fp16"
    DYNAMIC = "dynamic"  # int8 weights, float activations
    INT8 = "int8"  # full integer, calibrated
    MIXED = "mixed"  # int8, but floats where integers are not precise enough


#: Precisions with integer activations, whose ranges come from calibration samples.
CALIBRATED: Final = frozenset({Precision.INT8, Precision.MIXED})


class Int8Io(StrEnum):
    """Input and output types of an int8 artifact."""

    FLOAT = "float"  # the artifact quantizes inputs and dequantizes outputs
    INTEGER = "integer"  # scaled integers


class EvaluateOn(StrEnum):
    """Where the accuracy of artifacts is measured."""

    HOST = "host"
    DEVICE = "device"  # on the host, and on each device with each backend


class ModelFormat(StrEnum):
    """How a model is built from its code and files."""

    LEMUR = "lemur"  # class Net in its code, built with LEMUR's four arguments
    PYTHON = "python"  # a class or a factory in its code, called with keyword arguments
    EXPORTED = "exported"  # a torch.export program with its weights
    PREBUILT = "prebuilt"  # an existing .tflite file, measured unchanged


class Shortcut(StrEnum):
    """Part of a conversion that nnlite does itself, in less time and with the libraries' result."""

    DECOMPOSITION = "decomposition"  # each signature of an operator is decomposed once
    OPERATORS = "operators"  # common operators are lowered to StableHLO without jax
    LINEAR_LAYERS = "linear_layers"  # the converter neither copies their weights nor transposes them
    WEIGHTS = "weights"  # nnlite writes large ones into the file, and the quantizer does less with them


class StepState(StrEnum):
    """State of an operator when its artifact is compared with PyTorch's graph operator by operator."""

    RIGHT = "right"  # the artifact has its result, within the limit of the precision
    DEPARTS = "departs"  # the artifact's result differs by more
    FUSED = "fused"  # the artifact computes it together with a later operator


class Layout(StrEnum):
    """Layout of an artifact's four-dimensional inputs, which are N, C, H, W in PyTorch."""

    NHWC = "nhwc"  # as mobile runtimes expect
    AS_IS = "as-is"


class Backend(StrEnum):
    """What executes the artifact on the device."""

    CPU = "cpu"  # XNNPACK
    GPU = "gpu"  # GPU delegate
    NPU = "npu"  # NNAPI
    CPU_PLAIN = "cpu-plain"  # the runtime's own kernels, without XNNPACK
    TFLITE_APP = "tflite-app"  # the app's own TensorFlow Lite with XNNPACK; hosts only
    ONNXRUNTIME = "onnxruntime"  # ONNX Runtime's own kernels on the CPU; hosts only
    EXECUTORCH = "executorch"  # ExecuTorch with XNNPACK; hosts only


class ArtifactFormat(StrEnum):
    """The file format of an artifact, which is also the suffix of its name in the store."""

    TFLITE = "tflite"
    ONNX = "onnx"
    PTE = "pte"


class DeviceKind(StrEnum):
    """What kind of machine a measurement comes from."""

    EMULATOR = "emulator"
    PHONE = "phone"
    HOST = "host"


class DeviceStatus(StrEnum):
    """State of a device, as its worker wrote it last."""

    STARTING = "starting"  # its worker prepares it
    READY = "ready"  # takes work
    FAULTY = "faulty"  # has a fault; recovery has not begun
    RECOVERING = "recovering"  # its worker runs recovery steps
    COOLING_OFF = "cooling_off"  # waits before its worker process is replaced
    WAITING = "waiting"  # a phone that is unplugged, too warm or too low on battery
    QUARANTINED = "quarantined"  # takes no work until a user releases it
    STOPPED = "stopped"  # no worker


class Fault(StrEnum):
    """What went wrong with a device: the kind of an incident."""

    ADB_SERVER_GONE = "adb_server_gone"  # the worker's own adb server does not answer
    DISCONNECTED = "disconnected"  # adb no longer lists the device
    OFFLINE = "offline"  # adb lists it, but it does not respond
    UNAUTHORIZED = "unauthorized"  # it has not accepted this host's key
    NO_ANSWER = "no_answer"  # a command timed out
    COMMAND_FAILED = "command_failed"  # a command or a transfer failed
    EMULATOR_FAILED = "emulator_failed"  # the emulator could not be started
    EMULATOR_GONE = "emulator_gone"  # the emulator's process ended
    BOOT_TIMEOUT = "boot_timeout"  # not booted within its deadline
    NOT_RESPONDING = "not_responding"  # a "not responding" dialog has the focus
    STORAGE_FULL = "storage_full"
    INSTALL_FAILED = "install_failed"
    APP_CRASHED = "app_crashed"
    APP_HUNG = "app_hung"
    BAD_REPORT = "bad_report"  # the app's output is invalid or inconsistent
    PROCESS_DIED = "process_died"  # the host's measuring process died, hung or wrote an invalid report
    WRONG_CANARY = "wrong_canary"  # its output for the canary is wrong
    NOT_IN_FRONT = "not_in_front"  # the app's window does not get the focus, or loses it, again and again
    OWNER_NEEDED = "owner_needed"  # no fault: only a person can go on, at the phone


class Mode(StrEnum):
    """How long each artifact is measured; medians of different modes are not comparable in their spread."""

    QUICK = "quick"  # 64 runs or 1 s
    STANDARD = "standard"  # as the measurement settings say
    FULL = "full"  # MLPerf's: 1,024 runs and 60 s


class Verdict(StrEnum):
    """How far a measurement may be trusted; never published without it."""

    VALID = "valid"
    NOISY = "noisy"
    THROTTLED = "throttled"
    INVALID = "invalid"


#: Verdicts of a measurement that another run may improve.
DISTURBED: Final = frozenset({Verdict.NOISY, Verdict.THROTTLED})


class RunPurpose(StrEnum):
    """Why an artifact is measured, in this run of its benchmark."""

    FIRST = "first"
    NOISY = "noisy"  # the run before was noisy or throttled
    REPEAT = "repeat"  # the campaign asks for several runs
    CANARY = "canary"  # the device changed its speed, and it is not known before or after which run
    AUDIT = "audit"  # a random choice is measured again, to learn how much results differ between runs
    REPRODUCE = "reproduce"  # a user asks whether a result comes again; never the result that counts


class Reason(StrEnum):
    """Why a measurement has its verdict, and what a reader must know about a valid one."""

    # annotations of a measurement that may be valid
    FEW_RUNS = "few_runs"  # fewer timed runs than the stop rule asks for
    PARTIAL_DELEGATION = "partial_delegation"  # the delegate took some nodes, not all
    ARTIFACT_PARITY = "artifact_parity"  # the artifact's outputs are off from PyTorch's
    ARTIFACT_PARITY_UNKNOWN = "artifact_parity_unknown"  # they could not be compared with PyTorch's
    # noisy
    SPREAD = "spread"  # 1.4826 x MAD / median above the limit
    DRIFT = "drift"  # the medians of ten slices differ by more than the limit
    CANARY = "canary"  # the canary's p25 before and after differ by more than the limit, twice
    NOT_QUIET = "not_quiet"  # conversions on the machine could not be paused
    NOT_TOP_APP = "not_top_app"  # the app was not in the foreground
    SHARED_CORE = "shared_core"  # the core was too seldom fast: too few runs counted
    # throttled
    THERMAL = "thermal"  # the device reports thermal throttling
    # invalid
    TOO_SLOW = "too_slow"  # too few runs within the time limit
    PARITY = "parity"  # the device's outputs are wrong
    NOT_DELEGATED = "not_delegated"  # the delegate took no node
    RUNTIME = "runtime"  # the runtime rejected the artifact
    TOO_FEW_CORES = "too_few_cores"  # fewer cores than the threads that were asked for; not measured


class ClockPolicy(StrEnum):
    """Clock policy: what holds a phone's clocks while it measures."""

    FIXED = "fixed"  # Android's fixed performance mode: a level that the device can hold (API 30)
    SUSTAINED = "sustained"  # the window asks for a sustained performance level
    FREE = "free"  # nothing: they follow load and temperature
    LOCKED = "locked"  # a person with root: lowest and highest frequency are equal


class EnergyMethod(StrEnum):
    """What counted the energy of an inference; numbers of different methods are not comparable."""

    RAPL = "rapl"  # a host's processor packages, with all that runs on them
    RAILS = "rails"  # a phone's power rails, all of them together
    PERFETTO = "perfetto"  # its rails as perfetto traces them, 32 at most
    BATTERY = "battery"  # a phone's charge counter times its voltage, unplugged


class Condition(StrEnum):
    """Condition that spoils a phone's number without making it noisy; a row names those that were seen."""

    POWER_SAVER = "power_saver"  # the battery saver was on
    DEBUG_BUILD = "debug_build"  # a debuggable or engineering build of Android
    MIRRORED = "mirrored"  # the screen was recorded or shown elsewhere
    CHARGING = "charging"  # the battery was charged, which heats
    NOT_BOUND = "not_bound"  # the app could not bind its thread to the cores that were asked for
    LOW_BATTERY = "low_battery"  # below the charge at which phones pause


class ParityState(StrEnum):
    """Whether an artifact computes what its PyTorch model computes."""

    OK = "ok"  # every output was compared and is within the limits
    OFF = "off"  # an output, or a slice of one, is beyond them
    UNKNOWN = "unknown"  # nothing, or not every output, could be compared


class Shape(StrEnum):
    """How the latency develops during a run: its levels, and where it ends."""

    STEADY = "steady"  # one level
    WARMING = "warming"  # ends at its fastest level, after slower ones
    SLOWING = "slowing"  # ends at a slower level than it had before
    NO_STEADY_STATE = "no_steady_state"  # changes within its last quarter


class Refusal(StrEnum):
    """What rejected the artifact, in a run report with an error."""

    RUNTIME = "runtime"  # the runtime or the delegate, with an error
    NOT_DELEGATED = "not_delegated"  # the delegate took no node of the graph
    TOO_FEW_CORES = "too_few_cores"  # the device has fewer cores than threads were asked for


class QuietMode(StrEnum):
    """How a machine's conversions are kept from disturbing its measurements."""

    PINNED_CORES = "cores_apart"
    TIME_SLICED = "turns"
    OWN_MACHINE = "own_machine"  # a phone, which runs no conversions


class RuntimeVerdict(StrEnum):
    """Result of running an artifact with the phones' version of TensorFlow Lite."""

    ACCEPTED = "accepted"  # it runs, with the host's outputs
    REFUSED = "refused"  # an operator, or its version, is missing
    DIFFERENT = "different"  # it runs, with other outputs


class WorkKind(StrEnum):
    """Kinds of work; their values are also the names of their tables."""

    CONVERSION = "conversion"
    BENCHMARK = "benchmark"
    RUNTIME_CHECK = "runtime_check"


#: Kinds whose rows belong to a campaign and are announced by messages; workers poll for runtime checks.
CAMPAIGN_KINDS = (WorkKind.CONVERSION, WorkKind.BENCHMARK)


class WorkState(StrEnum):
    """State of a unit of work."""

    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # leased by one attempt
    DONE = "done"  # has a result
    FAILED = "failed"  # final: the model cannot be converted or measured
    QUARANTINED = "quarantined"  # too many attempts failed or lost their worker
    CANCELLED = "cancelled"  # ended by the user
    SKIPPED = "skipped"  # never worked on; the row has the reason


#: Final states, which a row leaves only by a user's command.
ENDED_STATES = frozenset(WorkState) - {WorkState.QUEUED, WorkState.RUNNING}


class CampaignState(StrEnum):
    """State that the user sets; whether a campaign is finished follows from its rows."""

    ACTIVE = "active"
    PAUSED = "paused"  # no new claims; running work completes
    CANCELLED = "cancelled"


class Stage(StrEnum):
    """Stage of an attempt; stored with timings and failures."""

    CLAIM = "claim"
    LOAD = "load"  # import the model's code, construct the network
    EXPORT = "export"  # torch.export
    LOWER = "lower"  # litert_torch: to a .tflite file
    CALIBRATE = "calibrate"  # load the samples and compute PyTorch's outputs
    QUANTIZE = "quantize"
    PARITY = "parity"  # the artifact's outputs against PyTorch's
    EVALUATE = "evaluate"  # accuracy on labelled samples
    STORE = "store"
    FETCH = "fetch"  # the artifact from the store
    QUIET = "quiet"  # wait until conversions on the machine are paused
    PREPARE = "prepare"  # prepare the device
    PUSH = "push"  # artifact and inputs to the device
    CANARY = "canary"
    INITIALIZE = "initialize"
    WARM_UP = "warm-up"
    RUN = "run"
    PROFILE = "profile"  # another pass with the runtime's profiler on
    SUSTAINED = "sustained"  # another pass, of continuous inference
    ENERGY = "energy"  # the same, between readings of meters
    COUNTERS = "counters"  # the same, while simpleperf counts
    PULL = "pull"  # outputs from the device


#: Passes of continuous inference after a measurement, in their order, each called as the field of a request
#: that asks for its seconds; and whether only the first run of an artifact has it.
PASSES: Final = {Stage.SUSTAINED: True, Stage.ENERGY: False, Stage.COUNTERS: True}
