"""The closed sets of words that rows, messages, reports and settings share.

Every value is stored as its text. Nothing here may import a library, so that
the small measuring process can use the same words as the services.
"""

from enum import StrEnum


class Precision(StrEnum):
    """The numeric format of an artifact."""

    FP32 = "fp32"
    FP16 = "fp16"
    DYNAMIC = "dynamic"  # int8 weights, float activations
    INT8 = "int8"  # full integer, calibrated


class ModelFormat(StrEnum):
    """How a model's code and files become a network."""

    LEMUR = "lemur"  # class Net in its code, built with LEMUR's four arguments
    PYTHON = "python"  # a class or a factory in its code, called with keyword arguments
    EXPORTED = "exported"  # a program of torch.export, weights included
    PREBUILT = "prebuilt"  # a ready .tflite file, measured as it is


class Layout(StrEnum):
    """How an artifact takes inputs of four dimensions, which a network takes as N, C, H, W."""

    NHWC = "nhwc"  # as mobile runtimes do
    AS_IS = "as-is"


class Backend(StrEnum):
    """What executes the artifact on the device."""

    CPU = "cpu"  # XNNPACK
    GPU = "gpu"  # GPU delegate
    NPU = "npu"  # NNAPI


class DeviceKind(StrEnum):
    """What kind of machine a measurement comes from."""

    EMULATOR = "emulator"
    PHONE = "phone"
    HOST = "host"


class DeviceStatus(StrEnum):
    """Where a device stands; what its worker wrote last."""

    STARTING = "starting"  # being made ready
    READY = "ready"  # takes work
    FAULTY = "faulty"  # did something wrong; not yet seen to
    RECOVERING = "recovering"  # its worker climbs the recovery ladder
    COOLING_OFF = "cooling_off"  # rests before its worker is started anew
    WAITING = "waiting"  # a phone that is unplugged, too warm or too low on battery
    QUARANTINED = "quarantined"  # takes no work until a person releases it
    STOPPED = "stopped"  # no worker


class Fault(StrEnum):
    """What a device did wrong: the kind of an incident."""

    ADB_SERVER_GONE = "adb_server_gone"  # the worker's own adb server does not answer
    DISCONNECTED = "disconnected"  # adb does not know the device any more
    OFFLINE = "offline"  # adb knows it, and it does not answer
    UNAUTHORIZED = "unauthorized"  # it does not accept this host's key
    NO_ANSWER = "no_answer"  # a command outlasted its deadline
    COMMAND_FAILED = "command_failed"  # a command or a transfer broke off or said no
    EMULATOR_FAILED = "emulator_failed"  # the emulator could not be started
    EMULATOR_GONE = "emulator_gone"  # the emulator's process ended
    BOOT_TIMEOUT = "boot_timeout"  # not booted within its deadline
    NOT_RESPONDING = "not_responding"  # a "not responding" dialog has the focus
    STORAGE_FULL = "storage_full"
    INSTALL_FAILED = "install_failed"
    APP_CRASHED = "app_crashed"
    APP_HUNG = "app_hung"
    BAD_REPORT = "bad_report"  # what came back cannot be read or does not fit
    PROCESS_DIED = "process_died"  # the host's measuring process died, hung or wrote nonsense
    WRONG_CANARY = "wrong_canary"  # it computes something else


class Verdict(StrEnum):
    """How far a measurement may be trusted; never published without it."""

    VALID = "valid"
    NOISY = "noisy"
    THROTTLED = "throttled"
    INVALID = "invalid"


class Reason(StrEnum):
    """Why a measurement has its verdict, and what a reader must know about a valid one."""

    # marks of a measurement that may be valid
    FEW_RUNS = "few_runs"  # fewer timed runs than normal; no p95 and p99
    PARTIAL_DELEGATION = "partial_delegation"  # the delegate took some nodes, not all
    ARTIFACT_PARITY = "artifact_parity"  # the artifact's outputs are off from PyTorch's
    # noisy
    SPREAD = "spread"  # 1.4826 x MAD / median above the limit
    DRIFT = "drift"  # the medians of ten slices differ by more than the limit
    CANARY = "canary"  # the canary's p25 before and after differ by more than the limit, twice
    NOT_QUIET = "not_quiet"  # the machine's other work could not be held still
    NOT_TOP_APP = "not_top_app"  # the app was not in front
    # throttled
    THERMAL = "thermal"  # the device says that it slows down to cool
    # invalid
    TOO_SLOW = "too_slow"  # too few runs in the longest time allowed
    PARITY = "parity"  # the device computes something else
    NOT_DELEGATED = "not_delegated"  # the delegate took nothing
    RUNTIME = "runtime"  # the runtime refuses the artifact


class Refusal(StrEnum):
    """Who said no, in a run report with an error."""

    RUNTIME = "runtime"  # the runtime or the delegate, with an error of its own
    NOT_DELEGATED = "not_delegated"  # the delegate took no node of the graph


class QuietMode(StrEnum):
    """How a machine's conversions are kept from disturbing its measurements."""

    PINNED_CORES = "cores_apart"
    TIME_SLICED = "turns"
    OWN_MACHINE = "own_machine"  # a phone: nothing of ours runs on it


class RuntimeVerdict(StrEnum):
    """What the version of TensorFlow Lite that phones have makes of an artifact."""

    ACCEPTED = "accepted"  # it runs, and computes what the host computes
    REFUSED = "refused"  # an operator, or a version of one, is not in it
    DIFFERENT = "different"  # it runs, and computes something else


class WorkKind(StrEnum):
    """The two kinds of work, which are also the names of their tables."""

    CONVERSION = "conversion"
    BENCHMARK = "benchmark"


class WorkState(StrEnum):
    """Where a conversion or a benchmark stands."""

    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # leased by one attempt
    DONE = "done"  # has its result
    FAILED = "failed"  # final: the model cannot
    QUARANTINED = "quarantined"  # rests: took down or outlasted too many workers
    CANCELLED = "cancelled"  # ended by the user
    SKIPPED = "skipped"  # never to be worked on, for the reason that it states


#: States that a row does not leave by itself.
ENDED_STATES = frozenset(WorkState) - {WorkState.QUEUED, WorkState.RUNNING}


class CampaignState(StrEnum):
    """What the user wants of a campaign; whether it is finished follows from its rows."""

    ACTIVE = "active"
    PAUSED = "paused"  # no new claims; running work ends
    CANCELLED = "cancelled"


class Stage(StrEnum):
    """Where in the work an attempt was; stored with timings and failures."""

    CLAIM = "claim"
    LOAD = "load"  # import the model's code, construct the network
    EXPORT = "export"  # torch.export
    LOWER = "lower"  # litert_torch: to a .tflite file
    CALIBRATE = "calibrate"  # samples through the model's transform, and PyTorch's answers to them
    QUANTIZE = "quantize"
    PARITY = "parity"  # the artifact's outputs against PyTorch's
    STORE = "store"
    FETCH = "fetch"  # the artifact from the store
    QUIET = "quiet"  # waiting for the machine's other work
    PREPARE = "prepare"  # the device is made ready
    PUSH = "push"  # artifact and inputs to the device
    CANARY = "canary"
    INITIALIZE = "initialize"
    WARM_UP = "warm-up"
    RUN = "run"
    PULL = "pull"  # outputs from the device
