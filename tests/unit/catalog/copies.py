"""A small LEMUR, as a folder, as a wheel and as the SQLite file that nn-dataset would build of it."""

import json
import sqlite3
import zipfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MODEL = """import torch

def supported_hyperparameters():
    return {'lr', 'momentum', 'dropout'}

class Net(torch.nn.Module):
    pass
"""

#: As LEMUR has it, so that the committed table knows it.
NORM_64 = """import torchvision.transforms as transforms


def transform(norm):
    return transforms.Compose([
        transforms.Resize(64),
        transforms.CenterCrop(64),
        transforms.ToTensor(),
        transforms.Normalize(*norm)])"""

#: The statements of nn-dataset 2.2.11, `ab/nn/util/db/Init.py`, with its names filled in.
TABLES = """
CREATE TABLE nn (name TEXT PRIMARY KEY, code TEXT NOT NULL, id TEXT NOT NULL);
CREATE TABLE transform (name TEXT PRIMARY KEY, code TEXT NOT NULL, id TEXT NOT NULL);
CREATE TABLE metric (name TEXT PRIMARY KEY, code TEXT NOT NULL, id TEXT NOT NULL);
CREATE TABLE prm (uid TEXT NOT NULL, name TEXT NOT NULL, value OBJECT NOT NULL);
CREATE TABLE stat (
    id TEXT PRIMARY KEY, accuracy REAL, epoch INTEGER, duration INTEGER,
    task, dataset, nn, transform, metric, prm,
    FOREIGN KEY (nn) REFERENCES nn (name) ON DELETE CASCADE,
    FOREIGN KEY (transform) REFERENCES transform (name) ON DELETE CASCADE,
    FOREIGN KEY (metric) REFERENCES metric (name) ON DELETE CASCADE,
    FOREIGN KEY (prm) REFERENCES prm (uid) ON DELETE CASCADE);
"""
INDEXES = """
CREATE INDEX idx_prm_uid ON prm(uid, name, value);
CREATE INDEX idx_accuracy_desc ON stat (accuracy DESC);
CREATE INDEX idx_task ON stat (task);
CREATE INDEX idx_dataset ON stat (dataset);
CREATE INDEX idx_nn ON stat (nn);
CREATE INDEX idx_transform ON stat (transform);
CREATE INDEX idx_metric ON stat (metric);
CREATE INDEX idx_prm ON stat (prm);
"""
SCHEMA = TABLES + INDEXES


def trial(uid: str, **values: Any) -> dict[str, Any]:
    """A trial as LEMUR records it; `values` replace the usual ones."""
    usual = {
        "uid": uid,
        "batch": 32,
        "duration": 1_000,
        "accuracy": 0.5,
        "lr": 0.01,
        "momentum": 1.0,
        "transform": "norm_64",
    }
    return usual | values


@dataclass
class Lemur:
    """What to write into a copy of LEMUR."""

    models: dict[str, str] = field(default_factory=dict)
    transforms: dict[str, str] = field(default_factory=lambda: {"norm_64": NORM_64})
    #: (folder `task_dataset_metric_model`, epoch) -> trials
    trials: dict[tuple[str, int], list[dict[str, Any]]] = field(default_factory=dict)

    #: (precision, folder `task_dataset_metric_model`) -> transform
    runs: dict[tuple[str, str], str] = field(default_factory=dict)

    def trained(self, name: str, *trials: dict[str, Any], code: str = MODEL, on: str = "cifar-10") -> "Lemur":
        """Add a model with trials of its first epoch."""
        self.models[name] = code
        self.trials[f"img-classification_{on}_acc_{name}", 1] = list(trials)
        return self

    def untrained(self, name: str, code: str = MODEL) -> "Lemur":
        """Add a model without trials."""
        self.models[name] = code
        return self

    def files(self) -> dict[str, str]:
        """The tree, path by path."""
        files = {"ab/__init__.py": "raise ImportError('nobody may import this')", "ab/nn/nn/__init__.py": ""}
        files |= {f"ab/nn/nn/{name}.py": code for name, code in self.models.items()}
        files |= {f"ab/nn/transform/{name}.py": code for name, code in self.transforms.items()}
        for (folder, epoch), trials in self.trials.items():
            files[f"ab/nn/stat/train/{folder}/{epoch}.json"] = json.dumps(trials)
        catalogues: dict[str, dict[str, Any]] = {}
        for (precision, folder), transform in self.runs.items():
            files[f"ab/nn/stat/run/tflite/{precision}/{folder}/android_SM-P613.json"] = "{}"
            entry = {"accuracy": 0.9, "transform": transform}
            catalogues.setdefault(precision, {})[folder.split("_", 3)[3]] = entry
        for precision, catalogue in catalogues.items():
            files[f"ab/nn/stat/run/tflite/{precision}/all_models.json"] = json.dumps(catalogue)
        return files

    def folder(self, path: Path) -> Path:
        """Write it as an installed package or a checkout lies."""
        for name, content in self.files().items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content.encode())
        return path

    def wheel(self, path: Path) -> Path:
        """Write it as a wheel."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self.files().items():
                archive.writestr(name, content)
        return path

    def sqlite(self, path: Path) -> Path:
        """Write it as nn-dataset's `Write.py` does: only what was trained, `prm` without uniqueness."""
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA synchronous = OFF")  # it need not outlive the machine
            database.executescript(SCHEMA)
            for name, code in self.transforms.items():
                database.execute("INSERT INTO transform VALUES (?, ?, ?)", (name, code, name))
            for (folder, epoch), trials in self.trials.items():
                _, _, _, name = folder.split("_", 3)
                database.execute("INSERT OR IGNORE INTO nn VALUES (?, ?, ?)", (name, self.models[name], name))
                for values in trials:
                    _insert_trial(database, folder, epoch, dict(values))
            database.commit()
        return path


def _insert_trial(database: sqlite3.Connection, folder: str, epoch: int, values: dict[str, Any]) -> None:
    task, dataset, metric, name = folder.split("_", 3)
    uid, duration, accuracy = values.pop("uid"), values.pop("duration"), values.pop("accuracy")
    for key, value in values.items():
        database.execute("INSERT OR IGNORE INTO prm VALUES (?, ?, ?)", (uid, key, value))
    row = (f"{folder}/{epoch}/{uid}", accuracy, epoch, duration, task, dataset, name)
    database.execute(
        "INSERT INTO stat VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, values["transform"], metric, uid)
    )
