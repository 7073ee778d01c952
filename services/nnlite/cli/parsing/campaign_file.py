"""Campaign files: `nnlite run campaign.toml` takes options from a TOML file, whose keys are their names.

What the command line says too takes precedence.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typer import BadParameter
from typer.core import TyperCommand, TyperOption

from nnlite.errors import UsageError, did_you_mean

SUFFIX = ".toml"
#: The argument, which is no option.
_MODELS = "models"
#: Options that may name a file; one next to the campaign file is meant before one of the working folder.
_PATHS = frozenset({"path", "weights", "calibration", "evaluate", "prebuilt"})


class CampaignFileCommand(TyperCommand):
    """A command whose argument MODEL may be a campaign file."""

    _file: Path | None = None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, and the file that is one of them.

        Raises:
            UsageError: there are several files, or the file has what the command cannot take.
        """
        if not ctx.resilient_parsing:
            given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
            names = given.get(_MODELS) or ()
            files = [name for name in names if name.endswith(SUFFIX)]
            if len(files) > 1:
                raise UsageError(f"one campaign file at a time, not {' and '.join(files)}")
            if files:
                self._file = Path(files[0])
                values = _read(self._file)
                args = [each for each in args if each != files[0]]
                models = _texts(self._file, _MODELS, values.pop(_MODELS, []))
                if len(names) == 1 and models:
                    args += ["--", *models]
                ctx.default_map = self._defaults(ctx, self._file, values)
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what it cannot take of a file is said with the file's name."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            if self._file is None:
                raise
            raise type(error)(f"{self._file}: {error}") from error

    def _defaults(self, ctx: Any, file: Path, values: Mapping[str, Any]) -> dict[str, Any]:
        options = {
            name.removeprefix("--"): option
            for option in self.params
            if isinstance(option, TyperOption)
            for name in option.opts
            if name.startswith("--")
        }
        return dict(self._default(ctx, file, options, key, value) for key, value in values.items())

    def _default(
        self, ctx: Any, file: Path, options: Mapping[str, TyperOption], key: str, value: Any
    ) -> tuple[str, Any]:
        """Return the name of a key's parameter, and its value as the command line would have it."""
        option = options.get(key.replace("_", "-"))
        if option is None:
            hint = did_you_mean(key, [*options, _MODELS])
            raise UsageError(f"{file}: {key} is no option of nnlite {ctx.info_name}{hint}")
        if option.is_flag:
            if not isinstance(value, bool):
                raise UsageError(f"{file}: {key} = {_written(value)} is neither true nor false")
            return str(option.name), value
        texts = _texts(file, key, value)
        if not option.multiple and len(texts) != 1:
            raise UsageError(f"{file}: {key} = {_written(value)}: only one value is possible")
        if key in _PATHS:
            texts = [_next_to(file, text) for text in texts]
        taken: Any = texts if option.multiple else texts[0]
        try:
            option.process_value(ctx, taken)
        except BadParameter as error:
            raise UsageError(f"{file}: {key} = {_written(value)}: {error.message}") from error
        return str(option.name), taken


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise UsageError(f"campaign file {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"campaign file {file} is not TOML: {error}") from error


def _texts(file: Path, key: str, value: Any) -> list[str]:
    """Return a value, or several, as words of a command line."""
    values: Sequence[Any] = value if isinstance(value, list) else [value]
    if wrong := [
        each for each in values if isinstance(each, bool) or not isinstance(each, str | int | float)
    ]:
        raise UsageError(f"{file}: {key} = {_written(wrong[0])} is neither text nor a number")
    return [str(each) for each in values]


def _next_to(file: Path, text: str) -> str:
    in_folder = file.parent / Path(text).expanduser()
    return str(in_folder) if in_folder.exists() else text


def _written(value: Any) -> str:
    return (
        repr(value)
        if isinstance(value, str)
        else str(value).replace("True", "true").replace("False", "false")
    )
