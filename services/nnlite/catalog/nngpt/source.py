"""NN-GPT source: generated models, read from its output tree, also while it is being written.

`out/nngpt/llm/epoch/A<e>/synth_nn/B<i>/`, one folder per model, and the other places in which its pipelines
write models: `A<e>/synth_pr_only/PR_<i>/`, `cycle_<c>/nneval/gen_<i>/` and
`generated_models/model_iter_<i>.py`. NN-GPT clears the tree when its next run starts, so models that were
read are kept in memory: a submitted model no longer needs its folder.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from nnlite.catalog.limits import apply_limits
from nnlite.catalog.model import CatalogError, CatalogModel
from nnlite.catalog.nngpt.folder import read_file, read_folder
from nnlite.catalog.nngpt.prebuilt import SUFFIX, lab_of, prebuilt_files, prebuilt_model
from nnlite.catalog.nngpt.rows import DIGITS, GeneratedRows
from nnlite.catalog.untrusted.checks import unchanged_file
from nnlite.settings import Settings

#: Folder of the epochs, relative to the folder that NN-GPT runs in; a parent folder may be named too.
EPOCHS = Path("out", "nngpt", "llm", "epoch")
#: Folder of models that are one file each, and the names of the files.
SINGLE_FILES = "generated_models"
_SINGLE = re.compile(r"model_iter_([0-9]{1,9})\.py")
_NAME = re.compile(rf"(A[0-9]+_B[0-9]+)(?:{re.escape(SUFFIX)})?(?:-[0-9a-f]{{{DIGITS}}})?")


def tag_of(name: str) -> str | None:
    """Return NN-GPT's own tag of the model `name`, or None if the name is not an NN-GPT tag."""
    match = _NAME.fullmatch(name)
    return match[1] if match else None


def epoch_root(path: Path) -> Path:
    """Return the folder of the epochs for one of its parents; it need not exist."""
    parts = EPOCHS.parts
    candidates = [path.joinpath(*parts[start:]) for start in range(len(parts))]
    if existing := [candidate for candidate in candidates if candidate.is_dir()]:
        return existing[0]
    if path.name == parts[-1] or any(path.glob("A[0-9]*/synth_nn")):
        return path
    return candidates[parts.index(path.name) + 1 if path.name in parts else 0]


class NnGptSource:
    """NN-GPT's output tree as a source of models.

    Args:
        settings: limits, and how long a folder must not change before it counts as complete.
        path: the folder that NN-GPT runs in, its `out`, or the folder of its epochs; or that of its
            pre-converted files, `out/edge/tflite`, which are measured instead of converting its code.
    """

    name = "nngpt"

    def __init__(self, settings: Settings, *, path: Sequence[Path] = ()) -> None:
        if len(path) != 1:
            raise CatalogError(
                f"source nngpt reads one tree, but {len(path)} were given; name the folder that contains "
                "NN-GPT's `out`: --path FOLDER"
            )
        self.path = path[0].expanduser()
        if not self.path.is_dir():
            raise CatalogError(
                f"{self.path} is not a folder; name the one that contains NN-GPT's `out`: --path FOLDER"
            )
        self._settings = settings
        self._rows = GeneratedRows(settings, self.name)
        self._files: dict[str, Path] = {}
        self._settling = _Settling(settings.catalog.settle_s)

    @property
    def epochs(self) -> Path:
        """Where the folders `A<e>` are, or will be."""
        return epoch_root(self.path)

    def models(self) -> list[CatalogModel]:
        """Return every model of the tree, skipped ones included, by epoch and number."""
        rows = [self._prebuilt_model(file) for file in prebuilt_files(self.path)]
        rows += [self._rows.row(read_folder(folder, tag, self._root)) for tag, folder in self._folders()]
        rows += [self._rows.row(read_file(file, tag, self._root)) for tag, file in self._single_files()]
        if not rows:
            raise CatalogError(
                f"no model of NN-GPT below {self.epochs}: no folder A<e>/synth_nn/B<i> or "
                "A<e>/synth_pr_only/PR_<i>, no cycle_<c>/nneval/gen_<i> and no "
                "generated_models/model_iter_<i>.py; a run clears them "
                "when it starts. Name another --path, or submit models as they appear with --follow"
            )
        return apply_limits(rows, self._settings.catalog)

    def grown(self) -> tuple[list[CatalogModel], int]:
        """Return the models that are complete, and how many are not.

        A model is complete once `eval_info.json` records the end of its evaluation; without that file, or
        with one that cannot be read, once the folder has not changed for a while.
        """
        complete, waiting = [], 0
        for file in prebuilt_files(self.path):
            if self._settling.is_settled(file):
                complete.append(self._prebuilt_model(file))
            else:
                waiting += 1
        for tag, folder in self._folders():
            generated = read_folder(folder, tag, self._root)
            if generated.unfinished or not (generated.ended or self._settling.is_settled(folder)):
                waiting += 1
            else:
                complete.append(self._rows.row(generated))
        for tag, file in self._single_files():
            if self._settling.is_settled(file):
                complete.append(self._rows.row(read_file(file, tag, self._root)))
            else:
                waiting += 1
        return apply_limits(complete, self._settings.catalog), waiting

    def code(self, model: CatalogModel) -> str:
        """Return the model's code as it was when it was listed."""
        return self._rows.text(model.code_sha256) or ""

    def transform_code(self, model: CatalogModel) -> str | None:
        """Return the code of the model's transform, or None where neither NN-GPT nor LEMUR has it here."""
        return self._rows.text(model.transform_sha256)

    def weights_file(self, model: CatalogModel) -> Path:
        """Return a pre-built file; CatalogError if it changed or vanished since it was listed."""
        return unchanged_file(self._files[model.weights], model.weights)

    @cached_property
    def _root(self) -> Path:
        return self.path.resolve()

    def _folders(self) -> Iterator[tuple[str, Path]]:
        for epoch in _numbered(self.epochs, "A"):
            for model in _numbered(epoch / "synth_nn", "B"):
                yield f"{epoch.name}_{model.name}", model
            for model in _numbered(epoch / "synth_pr_only", "PR_"):
                yield f"{epoch.name}_{model.name}", model
        for base in self._bases():
            for cycle in _numbered(base, "cycle_"):
                for model in _numbered(cycle / "nneval", "gen_"):
                    yield f"{cycle.name}_{model.name}", model

    def _bases(self) -> list[Path]:
        """Return the folders in which pipelines without epochs write: the one named, and NN-GPT's output."""
        named = [self.path, *(self.path.joinpath(*EPOCHS.parts[:end]) for end in range(1, len(EPOCHS.parts)))]
        below = [folder for base in named[:3] for folder in _entries(base)]
        return list(dict.fromkeys([*named, *below]))

    def _single_files(self) -> Iterator[tuple[str, Path]]:
        """Yield the models that are one file each."""
        bases = self._bases()
        for folder in dict.fromkeys(b if b.name == SINGLE_FILES else b / SINGLE_FILES for b in bases):
            numbers = [
                (match[1], file)
                for file in _entries(folder, Path.is_file)
                if (match := _SINGLE.fullmatch(file.name))
            ]
            for number, file in sorted(numbers, key=lambda each: int(each[0])):
                yield f"model_iter_{number}", file

    def _prebuilt_model(self, file: Path) -> CatalogModel:
        epoch, number = file.stem.split("_")
        lab = lab_of(self.path)
        generated = read_folder(epoch_root(lab) / epoch / "synth_nn" / number, file.stem, lab)
        limits = self._settings.catalog
        row = prebuilt_model(file, generated, source=self.name, digits=DIGITS, limits=limits)
        self._files[row.weights] = file
        return row


#: Name, size and time of files.
_Signature = tuple[tuple[str, int, int], ...]


class _Settling:
    """Tracks which folders have not changed for a while."""

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        #: The last signature of each folder, and since when it has that.
        self._seen: dict[Path, tuple[_Signature, float]] = {}

    def is_settled(self, folder: Path) -> bool:
        signature, now_s = _signature(folder), time.monotonic()
        last, since_s = self._seen.get(folder, (None, now_s))
        if last != signature:
            since_s = now_s
        self._seen[folder] = signature, since_s
        return now_s - since_s >= self._settle_s


def _signature(path: Path) -> _Signature:
    """Return name, size and time of a file or of a folder's files; vanished files are skipped."""
    files = []
    try:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            status = file.lstat()
            files.append((file.name, status.st_size, status.st_mtime_ns))
    except OSError:
        pass
    return tuple(files)


def _entries(folder: Path, wanted: Callable[[Path], bool] = Path.is_dir) -> list[Path]:
    """Return the folders in a folder, or other entries; empty if it does not exist or may not be read."""
    try:
        return sorted(filter(wanted, folder.iterdir()))
    except OSError:
        return []


def _numbered(folder: Path, letters: str) -> list[Path]:
    """Return the folders `<letters><number>` in `folder` by number; empty if it does not exist."""
    numbered = [path for path in _entries(folder) if re.fullmatch(rf"{letters}[0-9]{{1,9}}", path.name)]
    return sorted(numbered, key=lambda path: (int(path.name[len(letters) :]), path.name))
