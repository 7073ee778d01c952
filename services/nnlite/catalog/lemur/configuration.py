"""Chooses one configuration per model: from its recorded trials, or by default where it has none.

Pure functions; the archive does the reading. The rule prefers the fastest training, and therefore small
inputs; `--transform` and `--dataset` restrict the choice.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

#: Trials with at most this batch size are preferred; it excludes no model, as conversion is batch 1.
PREFERRED_BATCH = 32

#: One configuration of each architecture: the chosen one.
BEST = "best"

#: Recorded fields of a trial that are not part of its configuration: what was measured during training.
#: Newer trials have most of them, on their own or in `train_stat` (TRAIN_STAT_DB_FIELDS in
#: `ab/nn/util/db/Write.py` of nn-dataset 2.2.11, and what its statistics have besides).
NOT_CONFIGURATION = frozenset({
    "accuracy", "duration", "uid", "best_accuracy", "best_epoch", "epoch_max", "lr_now", "train_stat",
    "train_loss", "test_loss", "train_accuracy", "gradient_norm", "samples_per_second",
    "cpu_count", "cpu_type", "cpu_usage_percent", "total_ram_kb", "occupied_ram_kb", "ram_usage_percent",
    "gpu_type", "gpu_memory_kb", "gpu_total_memory_kb", "occupied_gpu_memory_kb", "gpu_memory_usage_percent",
    "fps", "gflops", "latency_ms", "parameters", "parameters_mb",
})  # fmt: skip

#: Values for a model without trials: the usual ones of PyTorch and torchvision. They decide training, or
#: the probability of a dropout, which is off in a converted network; sizes and counts are not among them.
DEFAULTS: Mapping[str, float | int] = {
    "lr": 0.01,
    "momentum": 0.9,
    "dropout": 0.2,
    "dropout_aux": 0.2,
    "attention_dropout": 0.1,
    "stochastic_depth_prob": 0.1,
    "weight_decay": 1e-4,
    "norm_eps": 1e-5,
    "norm_momentum": 0.1,
    "norm_std": 0.02,
    "beta1": 0.9,
    "beta2": 0.999,
    "pretrained": 0.0,
    "score_thresh": 0.05,
    "nms_thresh": 0.5,
    "iou_thresh": 0.5,
    "fg_iou_thresh": 0.5,
    "bg_iou_thresh": 0.4,
    "batch": 1,
    "epoch": 1,
}
#: For any other name: the middle of the range 0..1 from which LEMUR itself draws it.
OTHER_DEFAULT = 0.5


class Trial(NamedTuple):
    """One recorded training of a model."""

    name: str
    task: str
    dataset: str
    metric: str
    transform: str
    uid: str
    batch: int
    duration_ns: float
    accuracy: float | None
    #: Everything recorded; empty where the archive stores it separately.
    values: Mapping[str, Any]


class TrainingConfig(NamedTuple):
    """What a model is trained for: task, dataset, metric and transform."""

    task: str
    dataset: str
    metric: str
    transform: str


@dataclass(frozen=True, kw_only=True)
class TrialFilter:
    """Filter of trials by transform and dataset."""

    transform: str | None = None
    dataset: str | None = None

    def takes(self, config: Trial | TrainingConfig) -> bool:
        """Return whether a trial, or a model that is trained so, passes the filter."""
        return self.transform in (None, config.transform) and self.dataset in (None, config.dataset)

    def __str__(self) -> str:
        parts = {"transform": self.transform, "dataset": self.dataset}
        return " and ".join(f"{name} {value}" for name, value in parts.items() if value)


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The trials chosen from an archive."""

    #: The chosen trial of each model that has one.
    trials: dict[str, Trial]
    #: Models whose trials were all filtered out.
    filtered_out: frozenset[str]
    #: Most frequent training config among the chosen trials, by name prefix.
    usual_by_prefix: dict[str, TrainingConfig] = field(repr=False)
    #: Most frequent training config among the chosen trials, by task.
    usual_by_task: dict[str, TrainingConfig] = field(repr=False)
    #: Most frequent training config among all chosen trials; None without any.
    usual: TrainingConfig | None

    def default_config(self, name: str) -> TrainingConfig | None:
        """Return the config of a model without trials: the most frequent one among its name prefix."""
        return self.usual_by_prefix.get(prefix(name), self.usual)


def prefix(name: str) -> str:
    """Return the family of a model: its name up to the first dash."""
    return name.split("-", 1)[0]


def rank(trial: Trial) -> tuple[Any, ...]:
    """Sort key for choosing a trial: prefer small batches, then the fastest, then the lowest uid."""
    return trial.batch > PREFERRED_BATCH, trial.duration_ns, trial.uid, trial.dataset, trial.transform


def choose(trials: Iterable[Trial], only: TrialFilter) -> Choices:
    """Choose one trial for each model among those that `only` takes."""
    best: dict[str, tuple[tuple[Any, ...], Trial]] = {}
    seen: set[str] = set()
    for trial in trials:
        seen.add(trial.name)
        if not only.takes(trial):
            continue
        order = rank(trial)
        known = best.get(trial.name)
        if known is None or order < known[0]:
            best[trial.name] = order, trial
    chosen = {name: trial for name, (_, trial) in best.items()}
    families: dict[str, Counter[TrainingConfig]] = {}
    tasks: dict[str, Counter[TrainingConfig]] = {}
    for name, trial in chosen.items():
        families.setdefault(prefix(name), Counter())[training_config_of(trial)] += 1
        tasks.setdefault(trial.task, Counter())[training_config_of(trial)] += 1
    return Choices(
        trials=chosen,
        filtered_out=frozenset(seen - chosen.keys()),
        usual_by_prefix={family: _most_frequent(counts) for family, counts in families.items()},
        usual_by_task={task: _most_frequent(counts) for task, counts in tasks.items()},
        usual=_most_frequent(sum(families.values(), Counter())) if families else None,
    )


def training_config_of(trial: Trial) -> TrainingConfig:
    """Return the training config of a trial."""
    return TrainingConfig(trial.task, trial.dataset, trial.metric, trial.transform)


def hyperparameters_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters among the recorded values of a trial; lists and objects are none."""
    return {
        name: value
        for name, value in values.items()
        if name not in NOT_CONFIGURATION and not isinstance(value, dict | list)
    }


def default_hyperparameters(supported: Sequence[str], transform: str) -> dict[str, Any]:
    """Return values for a model without trials; `batch` and `transform` are always given, as LEMUR does."""
    values: dict[str, Any] = {name: DEFAULTS.get(name, OTHER_DEFAULT) for name in supported}
    return values | {"batch": DEFAULTS["batch"], "transform": transform}


def _most_frequent(counts: Counter[TrainingConfig]) -> TrainingConfig:
    return min(counts, key=lambda config: (-counts[config], config))
