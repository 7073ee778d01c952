"""Settings: one typed class, read from environment variables (prefix NNLITE_) and a .env file.

Nested groups use two underscores: NNLITE_MEASUREMENT__MIN_RUNS=20. Credentials
may stand in a file of mode 0600 that NNLITE_SECRETS_FILE names, passwords alone
in files of their own, so that they need not be in a process's environment.

More than 300 lines: it has the settings without a group, and how all of them are found.
"""

import difflib
import getpass
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, get_origin

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from nnlite.backends import BACKENDS
from nnlite.errors import plain
from nnlite.settings.groups import (
    AndroidSettings,
    CatalogSettings,
    ConversionSettings,
    EmulatorSettings,
    Group,
    LocalSettings,
    MeasurementSettings,
    MetricsSettings,
    PhoneSettings,
    QueueSettings,
    RuntimeCheckSettings,
)
from nnlite.settings.hooks import HookSettings
from nnlite.settings.passwords import with_passwords
from nnlite.settings.sources import ENVIRONMENT, json_value, set_variables, variables
from nnlite.settings.sources import PREFIX as PREFIX
from nnlite.settings.sources import SettingsError as SettingsError
from nnlite.vocabulary import DeviceKind, Mode, WorkKind


def default_home() -> Path:
    """Where the embedded servers, the artifacts and the caches are stored by default."""
    if os.geteuid() == 0:
        return Path("/var/lib/nnlite")
    try:
        return Path(platformdirs.user_data_dir("nnlite")).expanduser()
    except RuntimeError as error:  # no HOME, and no entry in /etc/passwd
        raise SettingsError(
            f"account {os.geteuid()} has no home folder; set NNLITE_HOME to a folder of its own"
        ) from error


class Settings(BaseModel):
    """All settings of nnlite. Frozen: processes read them once, at their start.

    What the constructor is not given comes from the secrets file, the environment and `.env`, in this order;
    empty variables do not count. pydantic-settings does the same, and takes longer to import than a listing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: Path = Field(default_factory=default_home, description="embedded servers, artifacts, caches")
    database_url: str | None = Field(None, description="postgresql://...; empty: the embedded server")
    broker_url: str | None = Field(None, description="redis://...; empty: the embedded server")
    database_password_file: Path | None = Field(None, description="file with the password of database_url")
    broker_password_file: Path | None = Field(None, description="file with the password of broker_url")
    artifacts_url: str | None = Field(None, description="fsspec URL or folder; empty: HOME/artifacts")
    quiet_folder: Path | None = Field(
        None, description="where measurements and conversions of one machine take turns; empty: HOME/quiet"
    )
    user: str | None = Field(
        None, description="who submits campaigns, a name for people; empty: the account", max_length=100
    )
    secrets_file: Path | None = Field(None, description="a .env file of mode 0600 with credentials")
    lemur: Path | None = Field(
        None, description="LEMUR: a checkout, site-packages folder, wheel or SQLite file; empty: searched"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="device of a network's reference passes; auto: a GPU where one works"
    )
    calibration_dir: Path | None = Field(
        None,
        description="images, or a .npy or .npz file, to calibrate int8 on; empty: scikit-learn's pictures",
    )
    calibration_samples: int = Field(128, gt=0, description="how many of them")
    calibration_seed: int = Field(0, ge=0, description="of the choice of samples, crops and noise")
    evaluation_samples: int = Field(500, gt=0, description="labelled samples of an evaluation, at most")
    evaluation_seed: int = Field(0, ge=0, description="of their choice")
    evaluation_device_mb: int = Field(
        256, gt=0, le=384, description="of their inputs, at most so much is run on devices, MiB"
    )
    evaluation_device_max_s: float = Field(
        300, gt=0, description="accuracy on a device is that of the samples that were run until then"
    )
    database_timeout_s: float = Field(10, gt=0, description="longest wait for Postgres, seconds")
    broker_timeout_s: float = Field(5, gt=0, description="longest wait for Redis, seconds")
    log_level: str = Field("INFO", description="of workers and reaper: DEBUG, INFO, WARNING or ERROR")
    health_file: Path | None = Field(
        None, description="touched every few seconds by workers and reaper while the process makes progress"
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
    hooks: HookSettings = HookSettings()
    local: LocalSettings = LocalSettings()

    def __init__(self, _env_file: str | None = ".env", **values: Any) -> None:
        """Read the settings; `values` come before all sources."""
        read = _nested({name: text for _, name, text in set_variables(_env_file)})
        for name, value in values.items():
            known = read.get(name)
            read[name] = known | value if isinstance(known, dict) and isinstance(value, dict) else value
        super().__init__(**read)

    @model_validator(mode="before")
    @classmethod
    def _complete_urls(cls, values: dict[str, Any]) -> dict[str, Any]:
        return with_passwords(values)

    @model_validator(mode="after")
    def _messages_outlive_work(self) -> Self:
        evaluated_s = self.conversion_deadline_s + self.further_deadline_s(WorkKind.CONVERSION)
        longest_s = max(evaluated_s, self.benchmark_deadline_s)
        if self.queue.visibility_timeout_s <= longest_s:
            raise ValueError(
                f"{PREFIX}QUEUE__VISIBILITY_TIMEOUT_S={self.queue.visibility_timeout_s} must be above the "
                f"longest deadline, {longest_s:g} s: Redis would deliver work that is still being done"
            )
        return self

    @field_validator("home", "quiet_folder", "secrets_file", "lemur", "health_file")
    @classmethod
    def _without_tilde(cls, path: Path | None) -> Path | None:
        # No shell expands a `.env` file.
        return path and path.expanduser()

    @property
    def submitter(self) -> str:
        """Name that campaigns of this process are submitted under."""
        try:
            return self.user or getpass.getuser()
        except (KeyError, OSError):  # an account without a name, as in containers
            return str(os.geteuid())

    @property
    def quiet(self) -> Path:
        """Folder of the lock files of noise isolation."""
        return self.quiet_folder or self.home / "quiet"

    @property
    def artifacts(self) -> str:
        """URL or folder of the artifact store."""
        return self.artifacts_url or str(self.home / "artifacts")

    @property
    def conversion_deadline_s(self) -> float:
        """Longest that one attempt at a conversion may hold its row."""
        return self.conversion.absolute_timeout_s + 120

    @property
    def benchmark_deadline_s(self) -> float:
        """Longest that one attempt at a benchmark may hold its row, all backends one after another.

        Each further number of threads, each pass of a measurement, and each backend that accuracy is measured
        on adds `further_deadline_s`, a pass also its seconds.
        """
        # On a host fewer execute the same artifact; others refuse it at once.
        return len(BACKENDS[DeviceKind.PHONE]) * self.measurement_deadline_s + 120

    @property
    def measurement_deadline_s(self) -> float:
        """Longest that one measurement may take: of one backend, with one number of threads."""
        m, android = self.measurement, self.android
        modes = [m.in_mode(mode) for mode in Mode]
        longest_s = max(mode.warmup_max_s + mode.few_runs_max_s for mode in modes)
        # Of every run of a phone's app, canaries too: it waits for a cool device before it initializes.
        start_s = android.app_start_timeout_s + self.phone.cool_s + m.initialize_timeout_s
        # Canary, run, canary; after a drift run and canary again. All while the window is not in front.
        runs_s = android.front_tries * (5 * start_s + 2 * (m.gate_learn_s + longest_s))
        # After both runs, without and with a cache, in processes of their own.
        warm_init_s = m.warm_init * 2 * 2 * start_s
        # Before each of both runs, conversions may be waited for and may run first.
        quiet_s = 2 * (m.quiet_timeout_s + m.quiet_batch_s)
        profile_s = m.quiet_timeout_s + m.initialize_timeout_s + longest_s
        return runs_s + warm_init_s + quiet_s + 2 * android.transfer_timeout_s + profile_s

    def further_deadline_s(self, kind: WorkKind) -> float:
        """Time that an evaluation, a pass or a further number of threads adds to the deadline of a row."""
        conversion = kind is WorkKind.CONVERSION
        measured_s = self.measurement_deadline_s + self.evaluation_device_max_s
        return self.conversion_deadline_s if conversion else measured_s

    @property
    def runtime_check_deadline_s(self) -> float:
        """Longest that one attempt at a runtime check may hold its row, stopped for measurements included."""
        return self.runtime_check.timeout_s + 2 * self.benchmark_deadline_s + 120


@dataclass(frozen=True)
class Setting:
    """One setting: its variable, its place in `Settings`, and its field."""

    variable: str
    #: Names of the group, if it is in one, and of the field.
    path: tuple[str, ...]
    field: FieldInfo

    def of(self, settings: Settings) -> Any:
        """Return its value."""
        value: Any = settings
        for name in self.path:
            value = getattr(value, name)
        return value


@cache
def all_settings() -> dict[str, Setting]:
    """Return every setting by its variable, groups flattened."""

    def of_model(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[Setting]:
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, Group):
                yield from of_model(field.annotation, (*path, name))
            else:
                yield Setting(_variable((*path, name)), (*path, name), field)

    return {setting.variable: setting for setting in of_model(Settings, ())}


def origins() -> dict[str, str]:
    """Return where each setting that is set comes from: `environment`, or a file."""
    return {variable.upper(): where for where, variable, _ in set_variables(".env")}


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment, `.env` and the secrets file.

    Raises:
        SettingsError: an unknown variable with our prefix, or a value that does not fit.
    """
    known = all_settings()
    groups = {name.partition("__")[0] for name in known if "__" in name}
    for where, variable, _ in variables(".env"):
        if variable.startswith(PREFIX) and variable.upper() not in known and variable not in groups:
            place = "" if where == ENVIRONMENT else f" in {where}"
            raise SettingsError(f"unknown setting {variable}{place}{_did_you_mean(variable, [*known])}")
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        why = plain(first["msg"])
        if not first["loc"]:  # a rule between groups names its variables itself
            raise SettingsError(why) from error
        variable = _variable(tuple(map(str, first["loc"])))
        shown = first.get("input")
        shown = str(shown) if isinstance(shown, Path) else shown
        raise SettingsError(f"{variable}={shown!r}: {why}") from error


def _variable(path: tuple[str, ...]) -> str:
    return PREFIX + "__".join(path).upper()


def _nested(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields that variables set, groups as dictionaries; lists and whole groups are JSON."""
    known = all_settings()
    fields: dict[str, Any] = {}
    for variable, text in sorted(texts.items()):  # a group comes before its members
        setting = known.get(variable)
        if setting is None:
            if (group := variable.removeprefix(PREFIX).lower()) in Settings.model_fields:
                fields[group] = json_value(variable, text)
            continue
        value = json_value(variable, text) if get_origin(setting.field.annotation) is tuple else text
        *groups, name = setting.path
        place = fields
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    return fields


def _did_you_mean(variable: str, known: list[str]) -> str:
    names = [name.removeprefix(PREFIX) for name in known]
    close = difflib.get_close_matches(variable.removeprefix(PREFIX), names, n=1, cutoff=0.5)
    return f"; did you mean {PREFIX}{close[0]}?" if close else "; `nnlite doctor --settings` lists them all"
