"""Settings: one typed class, read from environment variables (prefix NNLITE_) and a .env file.

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
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.sources import DotEnvSettingsSource

from nnlite.errors import NnliteError
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
from nnlite.settings.passwords import with_passwords
from nnlite.vocabulary import Backend, Mode

PREFIX = "NNLITE_"


class SettingsError(NnliteError):
    """A setting is unknown or has a value that cannot be used."""


def default_home() -> Path:
    """Where the embedded servers, the artifacts and the caches are stored by default."""
    if os.geteuid() == 0:
        return Path("/var/lib/nnlite")
    return Path(platformdirs.user_data_dir("nnlite"))


class Settings(BaseSettings):
    """All settings of nnlite. Frozen: processes read them once, at their start."""

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
    database_password_file: Path | None = Field(None, description="file with the password of database_url")
    broker_password_file: Path | None = Field(None, description="file with the password of broker_url")
    artifacts_url: str | None = Field(None, description="fsspec URL or folder; empty: HOME/artifacts")
    quiet_folder: Path | None = Field(
        None, description="where measurements and conversions of one machine take turns; empty: HOME/quiet"
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
    database_timeout_s: float = Field(10, gt=0)
    broker_timeout_s: float = Field(5, gt=0)
    log_level: str = "INFO"
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
        # No shell expands a `.env` file.
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

        Each further number of threads adds `measurement_deadline_s`.
        """
        return len(Backend) * self.measurement_deadline_s + 120

    @property
    def measurement_deadline_s(self) -> float:
        """Longest that one measurement may take: of one backend, with one number of threads."""
        m = self.measurement
        modes = [m.in_mode(mode) for mode in Mode]
        longest_s = max(mode.warmup_max_s + mode.few_runs_max_s for mode in modes)
        # Twice: a measurement whose canary drifts is repeated. Before it, conversions may run first.
        run_s = m.gate_learn_s + longest_s
        # Without and with a cache; in the app each has one inference of warm-up and a timed one.
        again_s = 2 * (m.initialize_timeout_s + self.android.app_start_timeout_s + 2 * m.grace_s)
        tries_s = 2 * (m.quiet_timeout_s + m.initialize_timeout_s + run_s + m.warm_init * again_s)
        transfers_s = 2 * (self.android.transfer_timeout_s + self.android.app_start_timeout_s)
        profile_s = m.quiet_timeout_s + m.initialize_timeout_s + longest_s
        return tries_s + 2 * m.quiet_batch_s + transfers_s + profile_s

    @property
    def runtime_check_deadline_s(self) -> float:
        """Longest that one attempt at a runtime check may hold its row, stopped for measurements included."""
        return self.runtime_check.timeout_s + 2 * self.benchmark_deadline_s + 120


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
