"""Reader of one folder of a generated model, as NN-GPT writes it: contents, and whether it is usable.

`A<e>/synth_nn/B<i>/` holds `new_nn.py` (or `new_nn.py.rejected` and `rejection_reason.txt`), `hp.txt`,
`tr.py`, and after its evaluation `<epoch>.json` and `eval_info.json`, or `error.txt`. Sources: NNEval.py and
EdgeScore.py of https://github.com/ABrain-One/nn-gpt (ab/gpt). `dataframe.df` is a pickle and is never opened.
"""

import ast
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnlite.catalog.lemur.configuration import TrainingConfig
from nnlite.catalog.untrusted.source_text import UNPARSABLE, why_unusable
from nnlite.catalog.untrusted.text import Unreadable, parse_json, read_text

CODE = "new_nn.py"
#: Hyperparameters that NN-GPT uses for a model without its own (HP_DEFAULTS of EdgeBench.py).
DEFAULT_HYPERPARAMETERS: Mapping[str, Any] = {
    "batch": 16,
    "dropout": 0.2,
    "epoch": 1,
    "lr": 0.01,
    "momentum": 0.9,
    "transform": "norm_256_flip",
}
#: Training config of NN-GPT where nothing else is recorded (NNEval.py).
DEFAULT_CONFIG = TrainingConfig("img-classification", "cifar-10", "acc", "norm_256_flip")
#: Files that say why an evaluation came to nothing, and how a reason begins.
_FAILURES = {"error.txt": "evaluation failed", "eval_verification_failed.txt": "evaluation refused it"}
_LONGEST_REASON = 200


@dataclass(frozen=True, kw_only=True)
class Generated:
    """The contents of one folder."""

    #: `A<e>_B<i>`, as NN-GPT's edge scorer calls it.
    tag: str
    #: Empty where there is none.
    code: str = ""
    #: Of `tr.py`; None where there is none.
    transform_code: str | None = None
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    training_config: TrainingConfig = DEFAULT_CONFIG
    #: `hp.txt`, or `default`.
    configuration_source: str = "default"
    accuracy: float | None = None
    #: Why it cannot be converted.
    skipped: str | None = None
    #: Nothing is broken, but the evaluation has not ended.
    unfinished: bool = False
    #: The last file of an evaluation is there and says how it ended.
    ended: bool = False


class _Broken(Exception):
    """A file of the folder cannot be used; the message names it and the reason."""


def read_folder(folder: Path, tag: str, root: Path) -> Generated:
    """Read `folder`; unusable contents never raise, they become the reason for skipping.

    Args:
        root: the resolved root of the tree, which no link may leave.
    """
    files = _Files(folder, root)
    try:
        code = files.text(CODE)
        if code is None:
            return _without_code(files, tag)
        return _with_code(files, tag, code)
    except _Broken as broken:
        return Generated(tag=tag, skipped=f"broken: {broken}")


def read_file(file: Path, tag: str, root: Path) -> Generated:
    """Read a model that is one file, without a record of its evaluation; like `read_folder`."""
    files = _Files(file.parent, root)
    try:
        code = files.text(file.name) or ""
    except _Broken as broken:
        return Generated(tag=tag, skipped=f"broken: {broken}")
    why = why_unusable(code)
    return Generated(
        tag=tag,
        code=code,
        hyperparameters=dict(DEFAULT_HYPERPARAMETERS),
        skipped=f"broken: {file.name} {why}" if why else None,
        ended=True,
    )


def _without_code(files: "_Files", tag: str) -> Generated:
    rejected = files.text(f"{CODE}.rejected")
    if rejected is None:
        return Generated(tag=tag, skipped=f"incomplete: no {CODE}", unfinished=True)
    why = _line(files.text("rejection_reason.txt") or "") or "no reason was written"
    return Generated(tag=tag, code=rejected, skipped=f"rejected: {why}")


def _with_code(files: "_Files", tag: str, code: str) -> Generated:
    if not code.strip():
        return Generated(tag=tag, skipped=f"incomplete: {CODE} is empty", unfinished=True)
    given = files.json("hp.txt")
    if not isinstance(given, dict | None):
        raise _Broken("hp.txt is not a JSON object")
    transform_code = files.text("tr.py")
    if transform_code is not None and (why := why_no_transform(transform_code)):
        raise _Broken(f"tr.py {why}")
    accuracy = _accuracy(files)
    skipped, unfinished = _unusable(files, code, accuracy)
    noted = files.json("eval_info.json")
    training_config = _training_config(given or {}, noted)
    return Generated(
        tag=tag,
        code=code,
        transform_code=transform_code,
        hyperparameters={**DEFAULT_HYPERPARAMETERS, **(given or {}), "transform": training_config.transform},
        training_config=training_config,
        configuration_source="default" if given is None else "hp.txt",
        accuracy=accuracy,
        skipped=skipped,
        unfinished=unfinished,
        ended=noted is not None,
    )


def _unusable(files: "_Files", code: str, accuracy: float | None) -> tuple[str | None, bool]:
    """Return why the code is not converted (None: it is), and whether that may change."""
    if why := why_unusable(code):
        return f"broken: {CODE} {why}", False
    if accuracy is not None:
        return None, False
    for name, meaning in _FAILURES.items():
        if (text := files.text(name)) is not None:
            return f"{meaning}: {_line(text) or 'no reason was written'}", False
    return "incomplete: not evaluated yet (no <epoch>.json, no eval_info.json)", True


def _training_config(given: Mapping[str, Any], noted: Any) -> TrainingConfig:
    """Return the training config: from `hp.txt`, else from the record of the evaluation."""
    noted = noted.get("cli_args") if isinstance(noted, dict) else None
    noted = noted if isinstance(noted, dict) else {}
    words = [
        next((source[key] for source in (given, noted) if isinstance(source.get(key), str)), default)
        for key, default in zip(TrainingConfig._fields, DEFAULT_CONFIG, strict=True)
    ]
    for key, word in zip(TrainingConfig._fields, words, strict=True):
        if not re.fullmatch(r"[\w.+-]{1,100}", word, flags=re.ASCII):
            raise _Broken(f"{key} {word[:40]!r} is not a valid name")
    return TrainingConfig(*words)


def _accuracy(files: "_Files") -> float | None:
    """Return the accuracy from where NN-GPT's edge scorer takes it, in its order; None before the evaluation.

    Raises:
        _Broken: files of an evaluation are there and none gives an accuracy.
    """
    broken = []
    for name in [*files.epochs(), "eval_info.json"]:
        try:
            found = [_number(value, name) for value in _recorded(files.json(name)) if value is not None]
        except _Broken as error:
            broken.append(error)
            continue
        if found:
            # Several trials: the best one, as the scorer has it.
            return max(found)
    if broken:
        raise broken[0]
    return None


def _recorded(payload: Any) -> Iterator[Any]:
    """Yield what a record calls accuracy: that of all trials, or from the first place of an object."""
    if isinstance(payload, list) and len(payload) > 1 and isinstance(payload[1], int | float):
        yield payload[1]  # the older form: name, accuracy, and what was derived from it
    elif isinstance(payload, list):
        yield from (trial.get("accuracy") for trial in payload if isinstance(trial, dict))
    elif isinstance(payload, dict):
        results = payload.get("eval_results")
        results = results if isinstance(results, dict) else {}
        epochs = payload.get("epochs") or results.get("epochs")
        last = epochs[-1] if isinstance(epochs, list) and epochs else None
        last = last if isinstance(last, dict) else {}
        places = [payload.get("accuracy"), results.get("accuracy"), results.get("acc")]
        places += [last.get("accuracy", last.get("acc"))]
        yield next((place for place in places if place is not None), None)


def _number(value: Any, name: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 1:
        raise _Broken(f"accuracy {str(value)[:40]!r} in {name} is not a number from 0 to 1")
    return number


def why_no_transform(code: str) -> str | None:
    """Return why `code` defines no transform, or None when it defines one."""
    try:
        tree = ast.parse(code)
    except UNPARSABLE as error:
        return f"does not parse: {error}"
    defined = {getattr(node, "name", None) for node in tree.body}
    return None if "transform" in defined else "defines no function transform"


def _line(text: str) -> str:
    """Return the first line of a reason, cut where it is too long, without what a terminal obeys."""
    line = text.strip().partition("\n")[0]
    return re.sub(r"[^\x20-\x7e\xa0-\U0010ffff]", "?", line)[:_LONGEST_REASON]


class _Files:
    """The files of one folder."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder, self._root = folder, root

    def text(self, name: str) -> str | None:
        try:
            return read_text(self._folder / name, self._root)
        except Unreadable as error:
            raise _Broken(f"{name} {error}") from error

    def json(self, name: str) -> Any:
        """Return the value in a JSON file; None when there is none."""
        text = self.text(name)
        try:
            return None if text is None else parse_json(text)
        except Unreadable as error:
            raise _Broken(f"{name} {error}") from error

    def epochs(self) -> list[str]:
        try:
            names = [path.name for path in self._folder.iterdir()]
        except OSError as error:
            raise _Broken(f"the folder cannot be listed: {error.strerror}") from error
        return sorted(name for name in names if re.fullmatch(r"[0-9]+\.json", name))
