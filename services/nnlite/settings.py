"""Every knob, one typed class, from environment variables (prefix NNLITE_) and a .env file.

Nested groups use two underscores: NNLITE_MEASUREMENT__MIN_RUNS=20. Credentials
may stand in a file of mode 0600 that NNLITE_SECRETS_FILE names, passwords alone
in files of their own, so that they need not be in a process's environment.
"""

import difflib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import platformdirs
import pydantic_settings
from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.sources import DotEnvSettingsSource

from nnlite.credentials import with_passwords
from nnlite.failures import Limits, NnliteError
from nnlite.vocabulary import Backend

PREFIX = "NNLITE_"


class SettingsError(NnliteError):
    """A setting is unknown or has a value that cannot be used."""


def default_home() -> Path:
    """Where the embedded servers, the artifacts and the caches live when nothing else is said."""
    if os.geteuid() == 0:
        return Path("/var/lib/nnlite")
    return Path(platformdirs.user_data_dir("nnlite"))


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
    """Where a worker, or `beat`, tells Prometheus about itself."""

    port: int = Field(0, ge=0, le=65535, description="each worker of a machine needs one of its own; 0: none")
    address: str = Field("127.0.0.1", description="of this machine; 0.0.0.0: all that it has")
    timeout_s: float = Field(4, gt=0, description="asking Postgres for the cluster's metrics")


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


class Settings(BaseSettings):
    """Every knob of nnlite. Frozen: processes read it once, at their start."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    home: Path = Field(default_factory=default_home, description="embedded servers, artifacts, caches")
    database_url: str | None = Field(None, description="postgresql://...; empty: the embedded server")
    broker_url: str | None = Field(None, description="redis://...; empty: the embedded server")
    database_password_file: Path | None = Field(None, description="holds the password of database_url alone")
    broker_password_file: Path | None = Field(None, description="holds the password of broker_url alone")
    artifacts_url: str | None = Field(None, description="fsspec URL or folder; empty: HOME/artifacts")
    quiet_folder: Path | None = Field(
        None, description="where measurements and conversions of one machine take turns; empty: HOME/quiet"
    )
    secrets_file: Path | None = Field(None, description="a .env file of mode 0600 with credentials")
    lemur: Path | None = Field(
        None, description="LEMUR: a checkout, site-packages folder, wheel or SQLite file; empty: searched"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="what a network's reference passes run on; auto: a GPU where one works"
    )
    calibration_dir: Path | None = Field(
        None,
        description="images, or a .npy or .npz file, to calibrate int8 on; empty: scikit-learn's pictures",
    )
    calibration_samples: int = Field(128, gt=0, description="how many of them")
    calibration_seed: int = Field(0, ge=0, description="of the choice of samples, crops and noise")
    database_timeout_s: float = Field(10, gt=0)
    broker_timeout_s: float = Field(5, gt=0)
    log_level: str = "INFO"
    health_file: Path | None = Field(
        None, description="touched every few seconds by workers and beat while all is well"
    )
    catalog: CatalogSettings = CatalogSettings()
    conversion: ConversionSettings = ConversionSettings()
    measurement: MeasurementSettings = MeasurementSettings()
    android: AndroidSettings = AndroidSettings()
    emulator: EmulatorSettings = EmulatorSettings()
    phone: PhoneSettings = PhoneSettings()
    runtime_check: RuntimeCheckSettings = RuntimeCheckSettings()
    queue: QueueSettings = QueueSettings()
    metrics: MetricsSettings = MetricsSettings()
    local: LocalSettings = LocalSettings()

    @model_validator(mode="before")
    @classmethod
    def _complete_urls(cls, values: dict[str, Any]) -> dict[str, Any]:
        return with_passwords(values)

    @model_validator(mode="after")
    def _messages_outlive_work(self) -> Self:
        longest_s = max(self.conversion_deadline_s, self.benchmark_deadline_s)
        if self.queue.visibility_timeout_s <= longest_s:
            raise ValueError(
                f"{PREFIX}QUEUE__VISIBILITY_TIMEOUT_S={self.queue.visibility_timeout_s} must be above the "
                f"longest deadline, {longest_s:g} s: Redis would deliver work that is still being done"
            )
        return self

    @field_validator("home", "quiet_folder", "secrets_file", "lemur", "health_file")
    @classmethod
    def _without_tilde(cls, path: Path | None) -> Path | None:
        # No shell has read a `.env` file.
        return path and path.expanduser()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources = [init_settings, env_settings, dotenv_settings]
        if secrets := os.environ.get(f"{PREFIX}SECRETS_FILE"):
            sources.insert(1, DotEnvSettingsSource(settings_cls, env_file=_checked_secrets(Path(secrets))))
        return tuple(sources)

    @property
    def quiet(self) -> Path:
        """The folder of the quiet locks."""
        return self.quiet_folder or self.home / "quiet"

    @property
    def limits(self) -> Limits:
        """When a row has had enough."""
        return Limits(
            max_strikes=self.queue.max_strikes,
            max_losses=self.queue.max_losses,
            max_pause_s=self.queue.max_pause_s,
        )

    @property
    def conversion_deadline_s(self) -> float:
        """Longest that one attempt at a conversion may hold its row."""
        return self.conversion.absolute_timeout_s + 120

    @property
    def benchmark_deadline_s(self) -> float:
        """Longest that one attempt at a benchmark may hold its row, all backends one after another."""
        m = self.measurement
        # Twice: a measurement whose canary drifts is made again. Before it, converters may have their turn.
        tries_s = 2 * (m.quiet_timeout_s + m.initialize_timeout_s + m.warmup_max_s + m.few_runs_max_s)
        transfers_s = 2 * (self.android.transfer_timeout_s + self.android.app_start_timeout_s)
        return len(Backend) * (tries_s + 2 * m.quiet_batch_s + transfers_s) + 120


def _checked_secrets(path: Path) -> Path:
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise SettingsError(f"{PREFIX}SECRETS_FILE={path}: {error.strerror}; name a readable file") from error
    if mode & 0o077:
        raise SettingsError(
            f"{PREFIX}SECRETS_FILE={path} has mode {mode:04o}; make it private: chmod 600 {path}"
        )
    return path


def setting_names(model: type[BaseModel] = Settings, prefix: str = PREFIX) -> list[str]:
    """Return the environment variable of every setting, groups flattened."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Group):
            names += setting_names(field.annotation, f"{variable}__")
        else:
            names.append(variable)
    return names


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment, `.env` and the secrets file.

    Raises:
        SettingsError: an unknown variable with our prefix, or a value that does not fit.
    """
    known = setting_names()
    groups = {name.split("__")[0] for name in known if "__" in name}
    for variable, where in _variables():
        if variable.startswith(PREFIX) and variable.upper() not in known and variable not in groups:
            raise SettingsError(f"unknown setting {variable}{where}{_did_you_mean(variable, known)}")
    try:
        return Settings(**overrides)
    except pydantic_settings.SettingsError as error:
        field = str(error).partition('field "')[2].partition('"')[0]
        set_ = [name for name, _ in _variables() if name.upper().startswith(f"{PREFIX}{field.upper()}")]
        example = f"""{PREFIX}CATALOG__EXCLUDE='["ga-*"]'"""
        raise SettingsError(f"{' or '.join(set_)} cannot be read; lists are JSON: {example}") from error
    except ValidationError as error:
        first = error.errors()[0]
        why = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:  # a rule between groups names its variables itself
            raise SettingsError(why) from error
        variable = PREFIX + "__".join(str(part).upper() for part in first["loc"])
        raise SettingsError(f"{variable}={first.get('input')!r}: {why}") from error


def _variables() -> Iterator[tuple[str, str]]:
    """Yield every variable that is set, and where unless that is the environment."""
    yield from ((variable, "") for variable in os.environ)
    if f"{PREFIX}SECRETS_FILE" in dotenv_values(".env"):
        raise SettingsError(f"{PREFIX}SECRETS_FILE in .env is not read: set it in the environment")
    secrets = os.environ.get(f"{PREFIX}SECRETS_FILE")
    for file in (".env", *([str(_checked_secrets(Path(secrets)))] if secrets else [])):
        yield from ((variable, f" in {file}") for variable in dotenv_values(file))


def _did_you_mean(variable: str, known: list[str]) -> str:
    names = [name.removeprefix(PREFIX) for name in known]
    close = difflib.get_close_matches(variable.removeprefix(PREFIX), names, n=1, cutoff=0.5)
    return f"; did you mean {PREFIX}{close[0]}?" if close else "; `nnlite doctor --settings` lists them all"


@cache
def settings() -> Settings:
    """Return the settings of this process, read once."""
    return load_settings()
