"""Wheels of what is installed here, made of its files: pip and uv install from them without a network."""

import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: Files that an installer adds.
_ADDED = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}


def fill(folder: Path, *names: str, hollow: bool = False) -> None:
    """Write the wheel of each named distribution and of all that they require.

    Args:
        names: with extras, such as `celery[redis]`.
        hollow: with their metadata alone, of which installers choose: gigabytes in a second.
    """
    for found in _required([Requirement(name) for name in names]):
        _write_wheel(found, folder, hollow=hollow)


def _required(wanted: list[Requirement]) -> Iterator[Distribution]:
    seen: set[tuple[str, str]] = set()
    written: set[str] = set()
    while wanted:
        requirement = wanted.pop()
        found = distribution(requirement.name)
        for extra in {"", *requirement.extras}:
            if (requirement.name, extra) in seen:
                continue
            seen.add((requirement.name, extra))
            parsed = map(Requirement, found.requires or ())
            wanted += [each for each in parsed if not each.marker or each.marker.evaluate({"extra": extra})]
        if found.name not in written:
            written.add(found.name)
            yield found


def _write_wheel(found: Distribution, folder: Path, *, hollow: bool) -> None:
    said = (found.read_text("WHEEL") or "").splitlines()
    tags = [line.removeprefix("Tag: ").split("-") for line in said if line.startswith("Tag: ")]
    tag = "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*tags, strict=True))
    name = f"{canonicalize_name(found.name).replace('-', '_')}-{found.version}-{tag}.whl"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        files = [
            file for file in found.files or ()
            # Scripts are beside the packages; installers write them again.
            if ".." not in file.parts and file.suffix != ".pyc" and file.name not in _ADDED
            and (not hollow or file.parts[0].endswith(".dist-info"))
        ]  # fmt: skip
        for file in files:
            wheel.write(file.locate(), str(file))
        (metadata,) = {file.parts[0] for file in files if file.parts[0].endswith(".dist-info")}
        record = "".join(f"{file},,\n" for file in [*files, f"{metadata}/RECORD"])
        wheel.writestr(f"{metadata}/RECORD", record)
