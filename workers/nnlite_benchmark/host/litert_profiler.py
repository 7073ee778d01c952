"""LiteRT's profiler, through the C API of the library in its Python package.

The package's own interpreter has no profiler. `libLiteRt.so` next to it exports the C API, whose compiled
model records an event for each operator, XNNPACK's included. Tried with ai-edge-litert 2.3.0; a function that
another version lacks is an error with its name.
"""

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint64, c_void_p
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from nnlite_benchmark.host.operators import Event, ProfileError

_CPU: Final = 1
_LOCK_FOR_WRITING: Final = 1
#: More than the C struct of a tensor's type has.
_TYPE_BYTES: Final = 512


class _EventData(ctypes.Structure):
    _fields_ = (
        ("tag", c_char_p),
        ("type", c_int),
        ("start_us", c_uint64),
        ("elapsed_us", c_uint64),
        ("begin_memory", c_size_t * 3),
        ("end_memory", c_size_t * 3),
        ("metadata1", c_uint64),
        ("metadata2", c_uint64),
        ("source", c_int),
    )


class ProfiledModel:
    """One artifact, compiled for the CPU with XNNPACK and the profiler; never freed: its process ends."""

    def __init__(self, artifact: str, threads: int) -> None:
        """Load and compile the artifact.

        Raises:
            ProfileError: LiteRT refuses it, or this version has no such function.
        """
        self._library = ctypes.CDLL(str(library_file()))
        self._kept: list[Any] = []  # LiteRT refers to them
        self._environment, self._model, self._compiled = c_void_p(), c_void_p(), c_void_p()
        self._call("LiteRtCreateEnvironment", 0, None, byref(self._environment))
        self._call("LiteRtCreateModelFromFile", self._environment, artifact.encode(), byref(self._model))
        options = self._options(threads)
        self._call(
            "LiteRtCreateCompiledModel", self._environment, self._model, options, byref(self._compiled)
        )
        self._signature, self._profiler = c_void_p(), c_void_p()
        self._call("LiteRtGetModelSignature", self._model, c_size_t(0), byref(self._signature))
        self._inputs, self._outputs = self._buffers("Input"), self._buffers("Output")
        self._call("LiteRtCompiledModelGetProfiler", self._compiled, byref(self._profiler))

    def input_names(self) -> list[str]:
        """Return the names of the signature's inputs, in order."""
        return [self._name("Input", index) for index in range(len(self._inputs))]

    def set_inputs(self, contents: Sequence[bytes]) -> None:
        """Write the inputs, in the order of `input_names`.

        Raises:
            ProfileError: one has another size.
        """
        for buffer, content in zip(map(c_void_p, self._inputs), contents, strict=True):
            size, address = c_size_t(), c_void_p()
            self._call("LiteRtGetTensorBufferPackedSize", buffer, byref(size))
            if size.value != len(content):
                raise ProfileError(f"an input has {size.value} bytes, {len(content)} were given")
            self._call("LiteRtLockTensorBuffer", buffer, byref(address), _LOCK_FOR_WRITING)
            ctypes.memmove(address, content, len(content))
            self._call("LiteRtUnlockTensorBuffer", buffer)

    def run(self) -> None:
        """Run one inference."""
        inputs, outputs = c_size_t(len(self._inputs)), c_size_t(len(self._outputs))
        self._call(
            "LiteRtRunCompiledModel",
            self._compiled,
            c_size_t(0),
            inputs,
            self._inputs,
            outputs,
            self._outputs,
        )

    def profile(self) -> list[Event]:
        """Run one inference and return its events."""
        self._call("LiteRtResetProfiler", self._profiler)
        self._call("LiteRtStartProfiler", self._profiler)
        self.run()
        self._call("LiteRtStopProfiler", self._profiler)
        count = c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, byref(count))
        events = (_EventData * count.value)()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, events)
        return [
            Event(
                tag=event.tag.decode("utf-8", "replace"),
                type=event.type,
                time_us=event.elapsed_us,
                index=event.metadata1,
                subgraph=event.metadata2,
            )
            for event in events
        ]

    def _options(self, threads: int) -> c_void_p:
        options = c_void_p()
        self._call("LiteRtCreateOptions", byref(options))
        self._call("LiteRtSetOptionsHardwareAccelerators", options, _CPU)
        release = ctypes.CFUNCTYPE(None, c_void_p)(lambda address: None)
        self._kept.append(release)
        for name, text in (
            (b"xnnpack", f"num_threads = {threads}\n"),
            (b"runtime_options_string", "enable_profiling = true\n"),
        ):
            content, opaque = ctypes.create_string_buffer(text.encode()), c_void_p()
            self._kept.append(content)
            address = ctypes.cast(content, c_void_p)
            self._call("LiteRtCreateOpaqueOptions", name, address, release, byref(opaque))
            self._call("LiteRtAddOpaqueOptions", options, opaque)
        return options

    def _buffers(self, side: str) -> "ctypes.Array[c_void_p]":
        count = c_size_t()
        self._call(f"LiteRtGetNumSignature{side}s", self._signature, byref(count))
        buffers = (c_void_p * count.value)()
        for index in range(count.value):
            tensor, required, buffer = c_void_p(), c_void_p(), c_void_p()
            kind = (ctypes.c_byte * _TYPE_BYTES)()
            at = c_size_t(index)
            self._call(f"LiteRtGetSignature{side}TensorByIndex", self._signature, at, byref(tensor))
            self._call("LiteRtGetRankedTensorType", tensor, kind)
            self._call(
                f"LiteRtGetCompiledModel{side}BufferRequirements",
                self._compiled, c_size_t(0), at, byref(required),
            )  # fmt: skip
            self._call(
                "LiteRtCreateManagedTensorBufferFromRequirements",
                self._environment, kind, required, byref(buffer),
            )  # fmt: skip
            buffers[index] = buffer
        return buffers

    def _name(self, side: str, index: int) -> str:
        name = c_char_p()
        self._call(f"LiteRtGetSignature{side}Name", self._signature, c_size_t(index), byref(name))
        return (name.value or b"").decode()

    def _call(self, function: str, *arguments: Any) -> None:
        """Call a function of the C API, which returns a status."""
        try:
            call = getattr(self._library, function)
        except AttributeError:
            raise ProfileError(f"this version of LiteRT has no {function}") from None
        if status := call(*arguments):
            raise ProfileError(f"{function} of LiteRT failed with status {status}")


def library_file() -> Path:
    """Return LiteRT's library with the C API.

    Raises:
        ProfileError: the package has none.
    """
    package = find_spec("ai_edge_litert")
    folders = package.submodule_search_locations if package else None
    for folder in folders or ():
        if (file := Path(folder, "libLiteRt.so")).exists():
            return file
    raise ProfileError("the package ai-edge-litert has no libLiteRt.so")
