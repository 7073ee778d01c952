"""Groups of settings: one frozen class per subject, each a field of `Settings`.

More than 300 lines: one list of all settings, each a line or two; there is no other code.
"""

from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nnlite.vocabulary import Mode, Shortcut


class Group(BaseModel):
    """A named group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CatalogSettings(Group):
    """Limits on the models that are selected."""

    max_parameters: int = Field(100_000_000, gt=0, description="models with more parameters are skipped")
    max_input_side: int = Field(800, gt=0, description="models with larger inputs are skipped, pixels")
    exclude: tuple[str, ...] = Field((), description="glob patterns of model names to skip")
    variable_size: int = Field(
        256, gt=0, description="height and width where neither dataset nor transform fixes them, pixels"
    )
    vocabulary_words: int = Field(
        30_000, gt=4, description="vocabulary of captions, which LEMUR does not record: all words of COCO's"
    )
    vocabulary_characters: int = Field(
        1_000, gt=1, description="vocabulary of texts, which LEMUR does not record: characters of WikiText-2"
    )
    efficiency_max_parameters: int = Field(
        6_000_000, gt=0, description="accuracy / latency counts up to this many parameters: NN-GPT's gate"
    )
    settle_s: float = Field(
        10, ge=0, description="a generated model's folder counts as complete when unchanged this long"
    )
    follow_poll_s: float = Field(2, gt=0, description="between two scans of a followed tree")
    max_file_mb: int = Field(
        1024, gt=0, description="larger weights, programs and .tflite files are refused, MiB"
    )
    fetch_timeout_s: float = Field(1800, gt=0, description="fetching a source's files, 103 MB for LEMUR")


class ConversionSettings(Group):
    """Limits of one conversion."""

    timeout_s: float = Field(600, gt=0, description="wall clock, without stops for measurements, seconds")
    absolute_timeout_s: float = Field(
        1800, gt=0, description="wall clock in all, waits for measurements included, seconds"
    )
    memory_limit_mb: int = Field(8192, gt=0, description="resident memory of the process group, MiB")
    evaluation_max_s: float = Field(
        300, gt=0, description="accuracy is measured on the samples that were run until then"
    )
    threads: int = Field(1, gt=0, description="threads of one conversion")
    shortcuts: tuple[Shortcut, ...] = Field(
        tuple(Shortcut),
        description="parts of lowering that nnlite does itself, faster; names of tensors and the order of "
        "constants may differ",
    )
    cores: str = Field(
        "", description="cores to convert on, with measurement.cores; empty: all that do not measure"
    )
    network: bool = Field(False, description="may model code reach the network")
    network_filter: bool = Field(
        True,
        description="convert only where the kernel holds the filter that takes the network from model code; "
        "false: no network interface but loopback is enough",
    )
    drop_privileges: bool = Field(
        True, description="run model code as an unprivileged account where possible"
    )
    stderr_tail_bytes: int = Field(8192, gt=0, description="bytes of a failed child's stderr that are kept")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.absolute_timeout_s < self.timeout_s:
            raise ValueError("absolute_timeout_s must not be below timeout_s")
        return self


class MeasurementSettings(Group):
    """The measurement protocol; the values in force are stored with each result.

    Its bounds are those of the mode `standard`; `in_mode` has those of the others.
    """

    threads: int = Field(1, gt=0, description="threads of the CPU backend")
    cores: str = Field(
        "", description="cores to measure on, such as 2,3 or 4-7; empty: chosen from the machine"
    )
    warmup_min_runs: int = Field(5, ge=1, description="warm-up has at least this many runs")
    warmup_min_s: float = Field(0.5, ge=0, description="and lasts at least this long")
    warmup_max_s: float = Field(10, gt=0, description="and at most this long")
    warmup_agreeing_runs: int = Field(
        20, ge=0, description="warm-up ends after so many runs that no longer become faster"
    )
    warmup_tolerance: float = Field(
        0.04,
        gt=0,
        le=1,
        description="runs become faster if their fast mean is below the slow one by more",
    )
    min_runs: int = Field(50, ge=1, description="a normal measurement has at least this many timed runs")
    min_s: float = Field(2, ge=0, description="timed runs last at least this long")
    max_s: float = Field(60, gt=0, description="and at most this long, once there are few_runs of them")
    few_runs: int = Field(5, ge=1, description="fewer timed runs than this give no latency")
    few_runs_max_s: float = Field(
        180, gt=0, description="networks with fewer runs by then go on until few_runs, at most this long"
    )
    max_mad_ratio: float = Field(0.10, gt=0, description="noisy above 1.4826 x MAD / median")
    max_slice_drift: float = Field(0.10, gt=0, description="noisy when medians of ten slices differ more")
    shape_tolerance: float = Field(
        0.05, gt=0, description="levels of a run that differ by less are one level"
    )
    max_samples: int = Field(10_000, gt=0, description="samples kept; statistics use all")
    max_output_mb: float = Field(
        16, ge=0, description="larger outputs of a device are not stored, only their hashes, MiB"
    )
    canary_runs: int = Field(15, ge=4, description="timed runs of the canary; a steady host needs six")
    max_canary_drift: float = Field(
        0.10, gt=0, description="noisy when the canary's p25 before and after differ more"
    )
    canary_reuse_s: float = Field(
        30, ge=0, description="the canary after a measurement is the one before the next within this time"
    )
    fork_server: bool = Field(
        True, description="fork a host's measuring processes from one that has imported the runtime"
    )
    huge_pages: bool = Field(
        True, description="ask the kernel for huge pages for the memory of a host's measuring processes"
    )
    warm_init: bool = Field(
        True, description="initialize twice more, to time it without and with the runtime's cache"
    )
    gated: bool = Field(
        False, description="on a CPU, count only runs while the core is as fast as it was ever seen"
    )
    gate_limit: float = Field(0.08, gt=0, description="a core counts as fast up to so much slower than that")
    gate_slice_s: float = Field(0.04, gt=0, description="timed runs between two of the gate's canaries")
    gate_canary_s: float = Field(0.004, gt=0, description="one of the gate's canaries, half of it untimed")
    gate_learn_s: float = Field(
        3, ge=0, description="canaries before the first run on a device whose speed is not known yet"
    )
    gate_reset_runs: int = Field(
        10, ge=1, description="so many slower runs in a row are a new speed of the device"
    )
    max_thermal_status: int = Field(
        0, ge=0, le=6, description="throttled above this thermal status of Android; phones pause there"
    )
    noisy_repeats: int = Field(2, ge=0, description="how often a noisy measurement is made again")
    audit_share: float = Field(
        0.02, ge=0, le=1, description="share of the models whose artifacts are measured again as a check"
    )
    repeat_pause_s: float = Field(
        30, ge=0, description="before a measurement is made again, up to twice as long, at random"
    )
    initialize_timeout_s: float = Field(
        120, gt=0, description="loading an artifact and preparing the runtime"
    )
    grace_s: float = Field(
        10, gt=0, description="time beyond these limits after which a measuring process counts as hung"
    )
    quiet_timeout_s: float = Field(30, gt=0, description="wait for conversions to stop, then not_quiet")
    quiet_batch_s: float = Field(60, gt=0, description="longest measuring before conversions may run")

    def in_mode(self, mode: Mode) -> Self:
        """Return the settings with the bounds of `mode`; of `standard` they are these."""
        return self.model_copy(update=_BOUNDS[mode])


#: Bounds of warm-up and timed runs that a mode has whatever the settings say.
_BOUNDS: Final[dict[Mode, dict[str, float]]] = {
    Mode.QUICK: {"warmup_max_s": 1.0, "min_runs": 64, "min_s": 0.0, "max_s": 1.0},
    Mode.STANDARD: {},
    # Networks of 0.18 s and more have fewer runs, as in `standard`.
    Mode.FULL: {"min_runs": 1024, "min_s": 60.0, "max_s": 180.0, "few_runs_max_s": 180.0},
}


class AndroidSettings(Group):
    """Emulators and phones: programs and timeouts."""

    apk: Path | None = Field(None, description="the benchmark app; empty: HOME/nnlite-benchmark.apk")
    adb: Path | None = Field(None, description="the adb program; empty: the one of adbutils")
    command_timeout_s: float = Field(30, gt=0, description="one command in the device's shell")
    transfer_timeout_s: float = Field(300, gt=0, description="pushing or pulling one file")
    install_timeout_s: float = Field(180, gt=0, description="installing the app")
    install_pause_s: float = Field(10, ge=0, description="before installing again on a busy device")
    server_timeout_s: float = Field(10, gt=0, description="until the worker's own adb server answers")
    connect_timeout_s: float = Field(60, gt=0, description="until adb shows the device")
    boot_timeout_s: float = Field(300, gt=0, description="until the system reports that it has booted")
    ready_timeout_s: float = Field(120, gt=0, description="each check that follows: animation, packages, ...")
    poll_s: float = Field(1, gt=0, description="between two checks of a device that is not ready")
    min_free_mb: int = Field(500, ge=0, description="free space that a device needs, MiB")
    app_start_timeout_s: float = Field(60, gt=0, description="until the app reports that it initializes")
    front_tries: int = Field(
        3, gt=0, description="runs of an artifact whose window was not in front, until the device is at fault"
    )
    pull_grace_s: float = Field(30, gt=0, description="from the app's last run to its report")
    cool_off_s: float = Field(180, ge=0, description="pause before the worker is restarted")
    clocks: Literal["fixed", "sustained", "free"] = Field(
        "fixed",
        description="of phones while they measure: fixed performance mode (API 30, where the phone has it), "
        "a window that asks for sustained performance, or nothing",
    )
    gpu_fp16: bool = Field(False, description="let the GPU compute in fp16")
    transfer: Literal["auto", "status"] = Field(
        "auto",
        description="how results are pulled: as files with status chunks as fallback, or as chunks",
    )


class EmulatorSettings(Group):
    """Virtual devices (AVDs) that workers create and start."""

    sdk: Path | None = Field(None, description="the Android SDK; empty: ANDROID_HOME, ANDROID_SDK_ROOT")
    avd_home: Path | None = Field(None, description="folder of the AVDs; empty: HOME/avd")
    profile: str = Field("pixel_4", description="hardware profile of new AVDs")
    api_level: int = Field(30, ge=26, description="API level of Android")
    image: str = Field("google_apis", description="tag of the system image")
    abi: str = Field("x86_64", description="ABI of the system image")
    memory_mb: int = Field(3072, ge=512, description="memory of a virtual device, MiB")
    cores: int = Field(2, ge=1, description="cores of a virtual device")
    data_partition_mb: int = Field(6144, ge=2048, description="its data partition, MiB")
    gpu: str = Field("swiftshader_indirect", description="the emulator's -gpu mode")
    acceleration: bool = Field(True, description="refuse to start without hardware acceleration")
    first_port: int = Field(
        5586, ge=5586, le=5680, multiple_of=2, description="console ports are taken from here to 5682"
    )
    snapshot_boot: bool = Field(
        True,
        description="save the device when it is first ready, and boot from that (emulator 34.2.14)",
    )
    boots_at_once: int = Field(1, ge=1, description="emulators of one host that boot at the same time")
    stop_timeout_s: float = Field(15, gt=0, description="graceful stop of an emulator, then SIGKILL")


class PhoneSettings(Group):
    """When a phone may measure."""

    min_battery_percent: float = Field(20, ge=0, le=100, description="pauses below this charge")
    max_battery_c: float = Field(40, gt=0, description="pauses above this battery temperature")
    max_headroom: float = Field(
        0.7,
        gt=0,
        le=10,
        description="a run begins below this thermal headroom (API 30); 1: severe throttling",
    )
    cool_s: float = Field(60, ge=0, description="longest wait for that before a run; 0: none")
    gate_poll_s: float = Field(10, gt=0, description="between two checks of a pausing or absent phone")


class RuntimeCheckSettings(Group):
    """Runtime checks: the phones' TensorFlow Lite on this machine, and limits of one artifact."""

    runtime: Literal["auto", "apk", "tensorflow"] = Field(
        "auto",
        description="apk: the app's own library; tensorflow: TensorFlow of its version, to compare; "
        "auto: the first of them that is set below; no checks if none is",
    )
    library: Path | None = Field(
        None,
        description="folder of the app's TensorFlow Lite for this host (make runtime-check), which the "
        "backend tflite-app needs too",
    )
    environment: Path | None = Field(
        None, description="a virtual environment with TensorFlow 2.16 (make runtime-check-tensorflow)"
    )
    timeout_s: float = Field(120, gt=0, description="one artifact, without the time stopped for measurements")
    memory_limit_mb: int = Field(
        4096, gt=0, description="memory of one artifact on top of the runtime's, MiB"
    )
    poll_s: float = Field(5, gt=0, description="between two polls for unchecked artifacts")


class MetricsSettings(Group):
    """Metrics endpoint of `nnlite reaper`; workers serve none."""

    port: int = Field(0, ge=0, le=65535, description="of the reaper; 0: it serves no metrics")
    address: str = Field("127.0.0.1", description="to bind to; 0.0.0.0: all of this machine")
    token_file: Path | None = Field(
        None, description="file with the token that a scrape has to bring, as Bearer; empty: none"
    )
    timeout_s: float = Field(4, gt=0, description="longest statement in Postgres for a scrape")


class QueueSettings(Group):
    """Leases, retries and the reaper."""

    lease_s: float = Field(30, gt=0, description="a row whose owner gave no sign for so long is requeued")
    heartbeat_s: float = Field(10, gt=0, description="between two signs of an owner")
    max_strikes: int = Field(
        3, gt=0, description="failed attempts that speak against the work, then it is quarantined"
    )
    max_losses: int = Field(10, gt=0, description="attempts whose worker died, then the work is quarantined")
    max_pause_s: float = Field(60, gt=0, description="longest pause after a failure of the infrastructure")
    reaper_interval_s: float = Field(10, gt=0, description="between two rounds of the reaper")
    resend_after_s: float = Field(
        30, gt=0, description="a row that waits so long without a message gets one again"
    )
    resend_batch: int = Field(
        1000, gt=0, description="rows that get their message again in one round, at most"
    )
    watchdog_idle_s: float = Field(300, gt=0, description="idle this long while its queue has work: exit")
    visibility_timeout_s: int = Field(24 * 3600, gt=0, description="Redis broker; above the longest deadline")
    stop_timeout_s: float = Field(20, gt=0, description="graceful stop of a worker")

    @model_validator(mode="after")
    def _lease_outlives_heartbeats(self) -> Self:
        if self.lease_s < 2 * self.heartbeat_s:
            raise ValueError("lease_s must be at least twice heartbeat_s")
        if self.lease_s <= 2 * self.reaper_interval_s:
            # Such rounds would look like the gaps after which the reaper lets owners renew first.
            raise ValueError("lease_s must be more than twice reaper_interval_s, or no lease ever expires")
        return self


class LocalSettings(Group):
    """The embedded servers of one machine and its workers."""

    start_timeout_s: float = Field(60, gt=0, description="until a server answers, crash recovery included")
    stop_timeout_s: float = Field(30, gt=0, description="graceful stop of a server or worker, then SIGKILL")
    log_max_mb: float = Field(20, gt=0, description="size at which a log file is rotated, MiB")
