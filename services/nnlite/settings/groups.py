"""Groups of settings: one frozen class per subject, each a field of `Settings`."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Group(BaseModel):
    """A named group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CatalogSettings(Group):
    """Which models count as mobile-friendly."""

    max_parameters: int = Field(100_000_000, gt=0, description="left out above this many parameters")
    max_input_side: int = Field(512, gt=0, description="left out above this height or width, pixels")
    exclude: tuple[str, ...] = Field((), description="glob patterns of model names to leave out")
    variable_size: int = Field(
        256, gt=0, description="height and width where neither dataset nor transform fixes them, pixels"
    )
    efficiency_max_parameters: int = Field(
        6_000_000, gt=0, description="accuracy / latency counts up to this many parameters: NN-GPT's gate"
    )
    settle_s: float = Field(
        10, ge=0, description="a generated model's folder that rests this long is no longer being written"
    )
    follow_poll_s: float = Field(2, gt=0, description="between two looks at a tree that is followed")
    max_file_mb: int = Field(
        1024, gt=0, description="weights, programs and .tflite files of one's own are refused above this, MiB"
    )
    fetch_timeout_s: float = Field(1800, gt=0, description="bringing a source's files, 103 MB for LEMUR")


class ConversionSettings(Group):
    """Limits of one conversion."""

    timeout_s: float = Field(600, gt=0, description="wall clock without the time stopped for quiet, seconds")
    absolute_timeout_s: float = Field(1800, gt=0, description="wall clock with everything, seconds")
    memory_limit_mb: int = Field(8192, gt=0, description="resident memory of the process group, MiB")
    threads: int = Field(1, gt=0, description="threads of one conversion")
    cores: str = Field(
        "", description="cores to convert on, beside measurement.cores; empty: all that do not measure"
    )
    network: bool = Field(False, description="may model code reach the network")
    drop_privileges: bool = Field(
        True, description="run model code as an unprivileged account where possible"
    )
    stderr_tail_bytes: int = Field(8192, gt=0, description="how much of a dead child's stderr is kept")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.absolute_timeout_s < self.timeout_s:
            raise ValueError("absolute_timeout_s must not be below timeout_s")
        return self


class MeasurementSettings(Group):
    """The measurement protocol; the values in force are stored with each result."""

    threads: int = Field(1, gt=0, description="threads of the CPU backend")
    cores: str = Field(
        "", description="cores to measure on, such as 2,3 or 4-7; empty: chosen from the machine"
    )
    warmup_min_runs: int = Field(5, ge=1)
    warmup_min_s: float = Field(0.5, ge=0)
    warmup_max_s: float = Field(10, gt=0)
    min_runs: int = Field(50, ge=1, description="a normal measurement has at least this many timed runs")
    min_s: float = Field(2, ge=0)
    max_s: float = Field(60, gt=0)
    few_runs: int = Field(5, ge=1, description="fewer timed runs than this give no latency")
    few_runs_max_s: float = Field(180, gt=0)
    max_mad_ratio: float = Field(0.10, gt=0, description="noisy above 1.4826 x MAD / median")
    max_slice_drift: float = Field(0.10, gt=0, description="noisy when medians of ten slices differ more")
    max_samples: int = Field(10_000, gt=0, description="samples kept; statistics use all")
    canary_runs: int = Field(20, ge=4)
    max_canary_drift: float = Field(0.10, gt=0)
    max_thermal_status: int = Field(
        1, ge=0, le=6, description="throttled above Android's thermal status 1, light; phones rest there"
    )
    initialize_timeout_s: float = Field(120, gt=0)
    grace_s: float = Field(
        10, gt=0, description="beyond these limits, until a measuring process counts as hung"
    )
    quiet_timeout_s: float = Field(30, gt=0, description="wait for the machine's other work, then not_quiet")
    quiet_batch_s: float = Field(
        60, gt=0, description="measure at most this long before converters get a turn"
    )


class AndroidSettings(Group):
    """Emulators and phones: programs, and deadlines of what is done with them."""

    apk: Path | None = Field(None, description="the benchmark app; empty: HOME/nnlite-benchmark.apk")
    adb: Path | None = Field(None, description="the adb program; empty: the one that adbutils brings")
    command_timeout_s: float = Field(30, gt=0, description="one command in the device's shell")
    transfer_timeout_s: float = Field(300, gt=0, description="pushing or pulling one file")
    install_timeout_s: float = Field(180, gt=0, description="installing the app")
    install_pause_s: float = Field(10, ge=0, description="before installing again on a busy device")
    server_timeout_s: float = Field(10, gt=0, description="until the worker's own adb server answers")
    connect_timeout_s: float = Field(60, gt=0, description="until adb shows the device")
    boot_timeout_s: float = Field(300, gt=0, description="until the system says that it has booted")
    ready_timeout_s: float = Field(120, gt=0, description="each check that follows: animation, packages, ...")
    poll_s: float = Field(1, gt=0, description="between two looks at a device that is not ready")
    min_free_mb: int = Field(500, ge=0, description="free space that a ready device has, MiB")
    app_start_timeout_s: float = Field(60, gt=0, description="until the app says that it initializes")
    pull_grace_s: float = Field(30, gt=0, description="from the app's last run to its report")
    cool_off_s: float = Field(180, ge=0, description="rest before the worker is started anew")
    gpu_fp16: bool = Field(False, description="let the GPU compute in fp16")
    transfer: Literal["auto", "status"] = Field(
        "auto",
        description="how results come back: as files, or as pieces of status where those fail or always",
    )


class EmulatorSettings(Group):
    """The virtual devices that workers make and start."""

    sdk: Path | None = Field(None, description="the Android SDK; empty: ANDROID_HOME, ANDROID_SDK_ROOT")
    avd_home: Path | None = Field(None, description="where AVDs are found and made; empty: HOME/avd")
    profile: str = Field("pixel_4", description="hardware profile of an AVD that is made")
    api_level: int = Field(30, ge=26)
    image: str = Field("google_apis", description="tag of the system image")
    abi: str = "x86_64"
    memory_mb: int = Field(3072, ge=512)
    cores: int = Field(2, ge=1)
    data_partition_mb: int = Field(6144, ge=2048)
    gpu: str = Field("swiftshader_indirect", description="the emulator's -gpu mode")
    acceleration: bool = Field(True, description="refuse to start without hardware acceleration")
    first_port: int = Field(
        5586, ge=5586, le=5680, multiple_of=2, description="console ports are taken from here to 5682"
    )
    snapshot_boot: bool = Field(False, description="boot from the AVD's quick-boot snapshot where it has one")
    start_stagger_s: float = Field(15, ge=0, description="between the starts of two emulators of one host")
    stop_timeout_s: float = Field(15, gt=0, description="an orderly stop of an emulator, then SIGKILL")


class PhoneSettings(Group):
    """When a phone may measure."""

    min_battery_percent: float = Field(20, ge=0, le=100)
    max_battery_c: float = Field(40, gt=0, description="rests above this temperature of the battery")
    gate_poll_s: float = Field(10, gt=0, description="between two looks at a phone that rests or is away")


class RuntimeCheckSettings(Group):
    """Whether artifacts are tried with the version of TensorFlow Lite that phones have, and within what."""

    environment: Path | None = Field(
        None, description="a virtual environment with that TensorFlow (make runtime-check); empty: no checks"
    )
    timeout_s: float = Field(120, gt=0, description="one artifact, without the time stopped for quiet")
    memory_limit_mb: int = Field(4096, gt=0, description="what one artifact may take beside TensorFlow, MiB")
    poll_s: float = Field(5, gt=0, description="between two looks for artifacts that are not checked yet")


class MetricsSettings(Group):
    """Where `nnlite reaper` answers Prometheus; workers serve no metrics."""

    port: int = Field(0, ge=0, le=65535, description="of the reaper; 0: it serves no metrics")
    address: str = Field("127.0.0.1", description="of this machine; 0.0.0.0: all that it has")
    timeout_s: float = Field(4, gt=0, description="longest statement in Postgres for a scrape")


class QueueSettings(Group):
    """Leases, recovery and what the reaper does."""

    lease_s: float = Field(30, gt=0)
    heartbeat_s: float = Field(10, gt=0)
    max_strikes: int = Field(3, gt=0)
    max_losses: int = Field(10, gt=0)
    max_pause_s: float = Field(60, gt=0)
    reaper_interval_s: float = Field(10, gt=0)
    resend_after_s: float = Field(30, gt=0)
    resend_batch: int = Field(1000, gt=0)
    watchdog_idle_s: float = Field(300, gt=0, description="idle this long while its queue has work: exit")
    visibility_timeout_s: int = Field(6 * 3600, gt=0, description="Redis broker; above the longest deadline")
    stop_timeout_s: float = Field(20, gt=0, description="an orderly stop of a worker")

    @model_validator(mode="after")
    def _lease_outlives_heartbeats(self) -> Self:
        if self.lease_s < 2 * self.heartbeat_s:
            raise ValueError("lease_s must be at least twice heartbeat_s")
        if self.lease_s <= 2 * self.reaper_interval_s:
            # Such rounds would look like the gaps after which the reaper lets owners renew first.
            raise ValueError("lease_s must be more than twice reaper_interval_s, or no lease ever expires")
        return self


class LocalSettings(Group):
    """The embedded servers of one machine and the workers beside them."""

    start_timeout_s: float = Field(60, gt=0, description="until a server answers, crash recovery included")
    stop_timeout_s: float = Field(30, gt=0, description="an orderly stop of a server or worker, then SIGKILL")
    log_max_mb: float = Field(20, gt=0, description="size at which a log file is set aside, MiB")
