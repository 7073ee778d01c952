"""Backends of each kind of device, and the runtimes that execute artifacts on those of hosts.

Another runtime is a row here with its member of `Backend`, a module of `nnlite_benchmark.host` that runs
artifacts in it, and, if it does not execute `.tflite` files, a member of `ArtifactFormat` with a module of
`nnlite_conversion.pipeline.formats` that makes its files.

Imports no library, so that the small measuring process can use it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from nnlite.vocabulary import ArtifactFormat, Backend, DeviceKind


@dataclass(frozen=True, kw_only=True)
class HostRuntime:
    """A runtime of hosts, on one backend; all of them compute on the CPU."""

    backend: Backend
    #: As reports call it.
    name: str
    #: The extra that installs it; None: `NNLITE_RUNTIME_CHECK__LIBRARY` names its folder.
    extra: str | None
    #: The distribution whose version is the runtime's; None: it says its version.
    distribution: str | None
    #: Module of `nnlite_benchmark.host` whose `open_session` runs artifacts in it.
    session: str
    artifact_format: ArtifactFormat = ArtifactFormat.TFLITE
    #: Distributions that make its files and check them; empty: those of `.tflite` files.
    exporters: tuple[str, ...] = ()
    #: Increase when a change of the export itself changes its files.
    generation: int = 1

    @property
    def hint(self) -> str:
        """What to do where it is missing."""
        if self.extra is not None:
            return f"install the extra {self.extra}"
        return (
            "build it with `make runtime-check` in a checkout and name its folder in "
            "NNLITE_RUNTIME_CHECK__LIBRARY"
        )


_LITERT: Final = HostRuntime(
    backend=Backend.CPU,
    name="LiteRT",
    extra="host",
    distribution="ai-edge-litert",
    session="litert_session",
)
HOST_RUNTIMES: Final[Mapping[Backend, HostRuntime]] = {
    runtime.backend: runtime
    for runtime in (
        _LITERT,
        replace(_LITERT, backend=Backend.CPU_PLAIN),
        HostRuntime(
            backend=Backend.TFLITE_APP,
            name="TensorFlow Lite",
            extra=None,
            distribution=None,
            session="tflite_app_session",
        ),
        HostRuntime(
            backend=Backend.ONNXRUNTIME,
            name="ONNX Runtime",
            extra="onnx",
            distribution="onnxruntime",
            session="onnx_session",
            artifact_format=ArtifactFormat.ONNX,
            exporters=("torch", "onnx", "onnxscript", "onnxruntime"),
        ),
        HostRuntime(
            backend=Backend.EXECUTORCH,
            name="ExecuTorch",
            extra="executorch",
            distribution="executorch",
            session="executorch_session",
            artifact_format=ArtifactFormat.PTE,
            exporters=("torch", "executorch"),
        ),
    )
}
_ANDROID_BACKENDS: Final = frozenset({Backend.CPU, Backend.GPU, Backend.NPU, Backend.CPU_PLAIN})
#: Backends that devices of a kind may have; the others refuse every artifact there.
BACKENDS: Final = {
    DeviceKind.EMULATOR: _ANDROID_BACKENDS,
    DeviceKind.PHONE: _ANDROID_BACKENDS,
    DeviceKind.HOST: frozenset(HOST_RUNTIMES),
}
#: Those that only hosts have.
HOST_ONLY: Final = tuple(backend for backend in HOST_RUNTIMES if backend not in _ANDROID_BACKENDS)
#: Backends that compute on the CPU alone, with as many threads as a campaign asks for.
CPU_BACKENDS: Final = frozenset(HOST_RUNTIMES)
#: The runtime of each format but `.tflite`, which one runtime executes.
RUNTIME_OF_FORMAT: Final[Mapping[ArtifactFormat, HostRuntime]] = {
    runtime.artifact_format: runtime
    for runtime in HOST_RUNTIMES.values()
    if runtime.artifact_format is not ArtifactFormat.TFLITE
}


def format_of(backend: Backend) -> ArtifactFormat:
    """Return the format that a backend executes."""
    runtime = HOST_RUNTIMES.get(backend)
    return ArtifactFormat.TFLITE if runtime is None else runtime.artifact_format


def further_formats(backends: Iterable[Backend]) -> tuple[ArtifactFormat, ...]:
    """Return the formats besides `.tflite` that any of the backends executes, in order."""
    executed = set(map(format_of, backends))
    return tuple(each for each in ArtifactFormat if each in executed and each in RUNTIME_OF_FORMAT)
