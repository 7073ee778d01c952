"""NN-GPT's ready files, `out/edge/tflite/A<e>_B<i>.tflite`: int8, measured as they are."""

import re
from dataclasses import dataclass
from pathlib import Path

from nnlite.artifacts.store import file_sha256
from nnlite.catalog.lemur.expected_input import classes_of
from nnlite.catalog.model import SEEDED_WEIGHTS, CatalogError, CatalogModel
from nnlite.catalog.nngpt.folder import Generated
from nnlite.catalog.untrusted import checks as file_checks
from nnlite.vocabulary import Layout, ModelFormat

SUFFIX = ".tflite"
_NAME = re.compile(rf"(A([0-9]+)_B([0-9]+)){re.escape(SUFFIX)}")


@dataclass(frozen=True, kw_only=True)
class ReadyFile:
    """One file and the tag in its name."""

    tag: str
    file: Path


def ready_files(folder: Path) -> list[ReadyFile]:
    """Return the ready files in `folder`, by epoch and number; none when it is gone or holds none."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return []
    found = sorted((int(match[2]), int(match[3]), match[1]) for match in map(_NAME.fullmatch, names) if match)
    return [ReadyFile(tag=tag, file=folder / f"{tag}{SUFFIX}") for _, _, tag in found]


def lab_of(folder: Path) -> Path:
    """Return the folder that NN-GPT runs in, above `out/edge/tflite`."""
    return folder.resolve().parents[2] if len(folder.resolve().parents) > 2 else folder.resolve()


def ready_row(
    ready: ReadyFile, generated: Generated, *, source: str, digits: int, max_mb: int
) -> CatalogModel:
    """Return the model of a ready file.

    Args:
        ready: the file.
        generated: what its model's folder says: its accuracy, and what it is for.
        source: name of the source.
        digits: how many of the file's hash its name has.
        max_mb: larger files are left out.
    """
    sha256, skipped = SEEDED_WEIGHTS, None
    try:
        if not ready.file.resolve().is_relative_to(lab_of(ready.file.parent)):
            raise CatalogError(f"{ready.file.name} leads out of {lab_of(ready.file.parent)}")
        file_checks.check(ready.file, max_mb)
        sha256 = file_sha256(ready.file)
    except CatalogError as error:
        skipped = f"broken: {error}"
    except OSError as error:
        skipped = f"broken: {ready.file.name} cannot be read: {error.strerror}"
    setting = generated.setting
    return CatalogModel(
        source=source,
        name=ready.file.name if skipped else f"{ready.file.name}-{sha256[:digits]}",
        code_sha256=None,
        task=setting.task,
        dataset=setting.dataset,
        metric=setting.metric,
        transform=setting.transform,
        transform_sha256=None,
        hyperparameters={},
        configuration_source="default",
        input_shape=None,
        layout=Layout.AS_IS,
        model_format=ModelFormat.PREBUILT,
        classes=classes_of(setting),
        weights=sha256,
        weights_suffix=None if skipped else SUFFIX,
        accuracy=generated.accuracy,
        skipped=skipped,
    )
