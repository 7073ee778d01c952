"""Pre-built files of NN-GPT, `out/edge/tflite/A<e>_B<i>.tflite`: int8, measured as they are."""

import re
from pathlib import Path

from nnlite.catalog.lemur.expected_input import classes_of
from nnlite.catalog.model import SEEDED_WEIGHTS, CatalogError, CatalogModel
from nnlite.catalog.nngpt.folder import Generated
from nnlite.catalog.untrusted import checks as file_checks
from nnlite.host.files import file_sha256
from nnlite.settings.groups import CatalogSettings
from nnlite.vocabulary import Layout, ModelFormat

SUFFIX = ".tflite"
_NAME = re.compile(rf"A([0-9]+)_B([0-9]+){re.escape(SUFFIX)}")


def prebuilt_files(folder: Path) -> list[Path]:
    """Return the pre-converted files in `folder`, by epoch and number; empty if there are none."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return []
    found = sorted((int(match[1]), int(match[2]), match[0]) for match in map(_NAME.fullmatch, names) if match)
    return [folder / name for _, _, name in found]


def lab_of(folder: Path) -> Path:
    """Return the folder that NN-GPT runs in, above `out/edge/tflite`."""
    return folder.resolve().parents[2] if len(folder.resolve().parents) > 2 else folder.resolve()


def prebuilt_model(
    file: Path, generated: Generated, *, source: str, digits: int, limits: CatalogSettings
) -> CatalogModel:
    """Return the catalog row of a pre-built file.

    Args:
        generated: the folder of its model: accuracy and training config.
        digits: how many of the file's hash its name has.
    """
    sha256, skipped = SEEDED_WEIGHTS, None
    try:
        if not file.resolve().is_relative_to(lab_of(file.parent)):
            raise CatalogError(f"{file.name} leads out of {lab_of(file.parent)}")
        file_checks.check(file, limits.max_file_mb)
        sha256 = file_sha256(file)
    except CatalogError as error:
        skipped = f"broken: {error}"
    except OSError as error:
        skipped = f"broken: {file.name} cannot be read: {error.strerror}"
    config = generated.training_config
    return CatalogModel(
        source=source,
        name=file.name if skipped else f"{file.name}-{sha256[:digits]}",
        **config._asdict(),
        layout=Layout.AS_IS,
        model_format=ModelFormat.PREBUILT,
        classes=classes_of(config, limits),
        weights=sha256,
        weights_suffix=None if skipped else SUFFIX,
        accuracy=generated.accuracy,
        skipped=skipped,
    )
