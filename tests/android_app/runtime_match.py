"""Does the runtime in the app accept what the converter emits, and compute the same?

Artifacts run with the host's LiteRT and with the app's own TensorFlow Lite library, on the same inputs; what
is refused is reported operator by operator. `python -m android_app.runtime_match` (`make runtime-match`) does
that with models of LEMUR, with `--runtime tensorflow` by TensorFlow of the same version; a test does it with
a handful of small ones.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from nnlite.artifacts.inputs import from_raw_bytes, raw_bytes, seeded_input
from nnlite.host.tflite_environment import needed_environment
from nnlite.reports.schema import Parity
from nnlite.settings import Settings
from nnlite.settings.groups import RuntimeCheckSettings
from nnlite.vocabulary import Backend, Precision
from nnlite_benchmark.protocol.analysis.parity import device_parity
from nnlite_benchmark.runtime_check.process import ArtifactAnswer, RuntimeDiedError, RuntimeProcess

_CHECKOUT: Final = Path(__file__).resolve().parents[2]
LIBRARY: Final = _CHECKOUT / "build" / "app-runtime"
LIBRARY_OF_PHONES: Final = _CHECKOUT / "build" / "app-runtime-arm64"
ENVIRONMENT: Final = _CHECKOUT / ".nnlite" / "tflite-2.16"
SAMPLES: Final = Path(__file__).with_name("samples.py")
#: For a sample of LEMUR; a handful of small models takes seconds.
TIMEOUT_S: Final = 1800.0
_NAMES: Final = {
    number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)
}


@dataclass(frozen=True, kw_only=True)
class Operator:
    """An operator as an artifact asks for it."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


@dataclass(frozen=True, kw_only=True)
class Match:
    """What became of one artifact in the app's runtime."""

    artifact: Path
    operators: frozenset[Operator]
    #: What the runtime refused; None: it ran.
    refusal: str | None
    #: Against the host's runtime; None: it did not run.
    parity: Parity | None


def checks(runtime: str = "apk") -> RuntimeCheckSettings:
    """Return the settings of checks with what `make` built: the app's library, or TensorFlow."""
    if runtime == "apk-arm64":
        return RuntimeCheckSettings(runtime="apk", library=LIBRARY_OF_PHONES, timeout_s=TIMEOUT_S)
    return RuntimeCheckSettings(runtime=runtime, library=LIBRARY, environment=ENVIRONMENT)


def match(
    artifacts: Sequence[tuple[Path, Precision]], folder: Path, runtime: str = "apk"
) -> tuple[str, list[Match]]:
    """Run every artifact in both runtimes.

    Args:
        artifacts: the files, and what precision they were made in.
        folder: an empty folder for inputs and outputs.
        runtime: the app's: `apk`, `apk-arm64` for phones' own processors, or `tensorflow` of its version.

    Returns:
        The version of the app's runtime, and the matches in order.
    """
    settings = Settings(runtime_check=checks(runtime), _env_file=None)
    environment = needed_environment(settings)
    matches = []
    with RuntimeProcess(environment, folder / "log", settings.runtime_check) as process:
        for number, (artifact, precision) in enumerate(artifacts):
            place = folder / str(number)
            place.mkdir()
            inputs, expected = _on_host(artifact, place)
            try:
                answer = process.run(artifact, inputs, place)
            except RuntimeDiedError as error:
                answer = ArtifactAnswer(refusal=str(error))
            outputs = [
                from_raw_bytes((place / output.file).read_bytes(), output.shape, output.dtype)
                for output in answer.outputs
            ]
            parity = None if answer.refusal else device_parity(expected, outputs, precision, Backend.CPU)
            matches.append(
                Match(
                    artifact=artifact,
                    operators=operators(artifact),
                    refusal=answer.refusal,
                    parity=parity,
                )
            )
    return environment.version, matches


def operators(artifact: Path) -> frozenset[Operator]:
    """Return the operators that an artifact uses, with their versions."""
    model = schema.Model.GetRootAs(artifact.read_bytes(), 0)
    return frozenset(_operator(model.OperatorCodes(index)) for index in range(model.OperatorCodesLength()))


def report(version: str, matches: Iterable[Match]) -> str:
    """Return a table of operators and what became of the artifacts that use them, then every refusal."""
    matches = list(matches)
    ran: Counter[Operator] = Counter()
    refused: Counter[Operator] = Counter()
    for one in matches:
        (refused if one.refusal else ran).update(one.operators)
    lines = [f"TensorFlow Lite {version}: {len(matches)} artifacts"]
    lines.append(f"{'operator':40} {'ran':>5} {'refused':>8}")
    lines += [f"{one!s:40} {ran[one]:5} {refused[one]:8}" for one in sorted(ran | refused, key=str)]
    for one in matches:
        if one.refusal:
            only = ", ".join(sorted(map(str, one.operators - set(ran)))) or "none"
            lines.append(f"REFUSED {one.artifact.name}: {one.refusal} (operators that ran nowhere: {only})")
        elif one.parity is not None and not one.parity.ok:
            lines.append(f"OFF {one.artifact.name}: {one.parity}")
    return "\n".join(lines)


def _on_host(artifact: Path, place: Path) -> tuple[list[Path], list[Any]]:
    interpreter = Interpreter(str(artifact), num_threads=1)
    interpreter.allocate_tensors()
    inputs = []
    for number, detail in enumerate(interpreter.get_input_details()):
        tensor = seeded_input(detail["shape"].tolist(), np.dtype(detail["dtype"]).name, seed=number)
        interpreter.set_tensor(detail["index"], tensor)
        file = place / f"input_{number}.raw"
        file.write_bytes(raw_bytes(tensor))
        inputs.append(file)
    interpreter.invoke()
    return inputs, [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def _operator(code: Any) -> Operator:
    # The first field cannot hold numbers above 127; the second one holds those.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    custom = code.CustomCode()
    return Operator(name=custom.decode() if custom else _NAMES[number], version=code.Version())


def make_artifacts(folder: Path, *words: str) -> list[tuple[Path, Precision]]:
    """Convert a sample in a process of its own, which conversions need; `words` as `samples` takes them."""
    command = [sys.executable, "-m", "android_app.samples", *words, str(folder)]
    result = subprocess.run(
        command, cwd=SAMPLES.parents[1], stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=True
    )
    precisions = json.loads(result.stdout.splitlines()[-1])
    return [(folder / name, Precision(precision)) for name, precision in precisions.items()]


def main() -> int:
    """Convert a sample of LEMUR and match it; exit code 1 if anything was refused or is off."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument("--runtime", choices=("apk", "apk-arm64", "tensorflow"), default="apk")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nnlite-match-") as folder:
        runs = Path(folder) / "runs"
        runs.mkdir()
        words = ("--lemur", str(arguments.models), "--seed", str(arguments.seed))
        version, matches = match(make_artifacts(Path(folder) / "artifacts", *words), runs, arguments.runtime)
    print(report(version, matches))
    return int(any(one.refusal or one.parity is None or not one.parity.ok for one in matches))


if __name__ == "__main__":
    sys.exit(main())
