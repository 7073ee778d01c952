"""The app's own TensorFlow Lite library on a Linux host: its C API by ctypes.

`make apk` puts the unmodified library of the APK into a folder with the shim that gives it Android's C
library (`tools/apk/shim.py`). The functions are those of tensorflow/lite/core/c/c_api.h, 2.16.1, which the
AAR brings. Imports the standard library only, so that the memory of a process that runs an artifact is the
artifact's.
"""

import ctypes
import os
from collections.abc import Sequence
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_float, c_int, c_int32, c_size_t, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LIBRARY: Final = "libtensorflowlite_jni.so"
#: What the library asks the loader for. It takes those that are loaded already.
SHIM: Final = ("libc.so", "libm.so", "libdl.so", "liblog.so")
#: NumPy's names of `TfLiteType` (c_api_types.h).
DTYPES: Final = {
    1: "float32", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 8: "complex64", 9: "int8",
    10: "float16", 11: "float64", 12: "complex128", 13: "uint64", 16: "uint32", 17: "uint16",
}  # fmt: skip
_OK: Final = 0
_MAX_MESSAGE_BYTES: Final = 4096

_REPORTER: Final = CFUNCTYPE(None, c_void_p, c_char_p, c_void_p)


class _XnnpackOptions(ctypes.Structure):
    """`TfLiteXNNPackDelegateOptions` (xnnpack_delegate.h): its first field, and room for the others."""

    _fields_ = (("num_threads", c_int32), ("rest", c_int32 * 31))


class _QuantizationParams(ctypes.Structure):
    """`TfLiteQuantizationParams` (c_api_types.h)."""

    _fields_ = (("scale", c_float), ("zero_point", c_int32))


_SIGNATURES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "TfLiteVersion": (c_char_p, ()),
    "TfLiteModelCreateFromFileWithErrorReporter": (c_void_p, (c_char_p, _REPORTER, c_void_p)),
    "TfLiteInterpreterOptionsCreate": (c_void_p, ()),
    "TfLiteInterpreterOptionsSetNumThreads": (None, (c_void_p, c_int32)),
    "TfLiteInterpreterOptionsSetErrorReporter": (None, (c_void_p, _REPORTER, c_void_p)),
    "TfLiteXNNPackDelegateOptionsDefault": (_XnnpackOptions, ()),
    "TfLiteXNNPackDelegateCreate": (c_void_p, (POINTER(_XnnpackOptions),)),
    "TfLiteInterpreterOptionsAddDelegate": (None, (c_void_p, c_void_p)),
    "TfLiteInterpreterCreate": (c_void_p, (c_void_p, c_void_p)),
    "TfLiteInterpreterAllocateTensors": (c_int, (c_void_p,)),
    "TfLiteInterpreterInvoke": (c_int, (c_void_p,)),
    "TfLiteInterpreterGetInputTensorCount": (c_int32, (c_void_p,)),
    "TfLiteInterpreterGetInputTensor": (c_void_p, (c_void_p, c_int32)),
    "TfLiteInterpreterGetOutputTensorCount": (c_int32, (c_void_p,)),
    "TfLiteInterpreterGetOutputTensor": (c_void_p, (c_void_p, c_int32)),
    "TfLiteTensorName": (c_char_p, (c_void_p,)),
    "TfLiteTensorType": (c_int, (c_void_p,)),
    "TfLiteTensorNumDims": (c_int32, (c_void_p,)),
    "TfLiteTensorDim": (c_int32, (c_void_p, c_int32)),
    "TfLiteTensorByteSize": (c_size_t, (c_void_p,)),
    "TfLiteTensorQuantizationParams": (_QuantizationParams, (c_void_p,)),
    "TfLiteTensorCopyFromBuffer": (c_int, (c_void_p, c_char_p, c_size_t)),
    "TfLiteTensorCopyToBuffer": (c_int, (c_void_p, c_void_p, c_size_t)),
}


class RefusedError(RuntimeError):
    """The library rejected an artifact or its inputs; the message is the library's own."""


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """An input or an output of an artifact."""

    name: str
    #: NumPy's name.
    dtype: str
    shape: tuple[int, ...]
    #: Quantization: value = scale x (integer - zero_point); 0: it is not quantized.
    scale: float
    zero_point: int


@dataclass(frozen=True, kw_only=True)
class OutputTensor(TensorInfo):
    """An output after an inference."""

    #: Little-endian.
    data: bytes


class TfliteLibrary:
    """The library of a folder, loaded into this process."""

    def __init__(self, folder: Path) -> None:
        """Load it.

        Raises:
            OSError: a file is missing, the loader cannot use it, or the library lacks a function.
        """
        for name in SHIM:
            ctypes.CDLL(str(folder / name))
        self.functions = ctypes.CDLL(str(folder / LIBRARY))
        for name, (result, arguments) in _SIGNATURES.items():
            try:
                function = getattr(self.functions, name)
            except AttributeError as error:  # of another version, or built for another purpose
                raise OSError(str(error)) from error
            function.restype, function.argtypes = result, arguments

    @property
    def version(self) -> str:
        """Version of TensorFlow Lite."""
        version: bytes = self.functions.TfLiteVersion()
        return version.decode()


class TfliteInterpreter:
    """One artifact on the CPU with XNNPACK, as in the app; lives as long as the process."""

    def __init__(self, library: TfliteLibrary, artifact: Path, threads: int = 1) -> None:
        """Load the artifact; `allocate` makes it ready.

        Raises:
            RefusedError: the library does not accept it.
        """
        self._functions = api = library.functions
        self._messages: list[str] = []
        # The library calls it as long as the interpreter exists.
        self._reporter = _REPORTER(self._note)
        model = api.TfLiteModelCreateFromFileWithErrorReporter(os.fsencode(artifact), self._reporter, None)
        if not model:
            raise self._refusal("the file is no artifact")
        options = api.TfLiteInterpreterOptionsCreate()
        api.TfLiteInterpreterOptionsSetNumThreads(options, threads)
        api.TfLiteInterpreterOptionsSetErrorReporter(options, self._reporter, None)
        xnnpack = api.TfLiteXNNPackDelegateOptionsDefault()
        xnnpack.num_threads = threads
        api.TfLiteInterpreterOptionsAddDelegate(options, api.TfLiteXNNPackDelegateCreate(xnnpack))
        self._interpreter = api.TfLiteInterpreterCreate(model, options)
        if not self._interpreter:
            raise self._refusal("no interpreter can be created")

    def allocate(self) -> None:
        """Allocate the tensors, which other calls need; raises RefusedError if the library cannot."""
        status = self._functions.TfLiteInterpreterAllocateTensors(self._interpreter)
        self._accept(status, "the tensors cannot be allocated")

    def inputs(self) -> list[TensorInfo]:
        """Return the inputs, in order; raises RefusedError for one without numbers."""
        count = self._functions.TfLiteInterpreterGetInputTensorCount(self._interpreter)
        get = self._functions.TfLiteInterpreterGetInputTensor
        return [
            TensorInfo(**self._fields(f"input {number}", get(self._interpreter, number)))
            for number in range(count)
        ]

    def fill(self, inputs: Sequence[bytes]) -> None:
        """Set the inputs: raw little-endian data in the artifact's order.

        Raises:
            RefusedError: they do not fit.
        """
        count = self._functions.TfLiteInterpreterGetInputTensorCount(self._interpreter)
        if count != len(inputs):
            raise RefusedError(f"the artifact has {count} inputs, {len(inputs)} were given")
        for number, data in enumerate(inputs):
            tensor = self._functions.TfLiteInterpreterGetInputTensor(self._interpreter, number)
            size = self._functions.TfLiteTensorByteSize(tensor)
            if size != len(data):
                name = (self._functions.TfLiteTensorName(tensor) or b"").decode(errors="replace")
                raise RefusedError(f"input {name} has {size} bytes; {len(data)} were given")
            self._accept(
                self._functions.TfLiteTensorCopyFromBuffer(tensor, data, size), "an input cannot be set"
            )

    def invoke(self) -> None:
        """Run one inference; raises RefusedError if the library cannot."""
        self._accept(self._functions.TfLiteInterpreterInvoke(self._interpreter), "the inference failed")

    def outputs(self) -> list[OutputTensor]:
        """Return the outputs of the last inference; raises RefusedError for one without numbers."""
        count = self._functions.TfLiteInterpreterGetOutputTensorCount(self._interpreter)
        return [self._output(number) for number in range(count)]

    def _output(self, number: int) -> OutputTensor:
        api = self._functions
        tensor = api.TfLiteInterpreterGetOutputTensor(self._interpreter, number)
        fields = self._fields(f"output {number}", tensor)
        data = ctypes.create_string_buffer(api.TfLiteTensorByteSize(tensor))
        self._accept(api.TfLiteTensorCopyToBuffer(tensor, data, len(data)), "an output cannot be read")
        return OutputTensor(**fields, data=data.raw)

    def _fields(self, what: str, tensor: int) -> dict[str, Any]:
        """Return the fields of a `TensorInfo`."""
        api = self._functions
        kind = api.TfLiteTensorType(tensor)
        if kind not in DTYPES:
            raise RefusedError(f"{what} has type {kind}, which is no number")
        quantization = api.TfLiteTensorQuantizationParams(tensor)
        return {
            "name": (api.TfLiteTensorName(tensor) or b"").decode(errors="replace"),
            "dtype": DTYPES[kind],
            "shape": tuple(
                api.TfLiteTensorDim(tensor, axis) for axis in range(api.TfLiteTensorNumDims(tensor))
            ),
            "scale": quantization.scale,
            "zero_point": quantization.zero_point,
        }

    def _accept(self, status: int, otherwise: str) -> None:
        if status != _OK:
            raise self._refusal(otherwise)

    def _refusal(self, otherwise: str) -> RefusedError:
        return RefusedError("\n".join(self._messages) or otherwise)

    def _note(self, _user: Any, template: bytes, values: int) -> None:
        """Keep a message of the library; `values` is a `va_list`, which 64-bit ABIs pass by its address."""
        text = ctypes.create_string_buffer(_MAX_MESSAGE_BYTES)
        ctypes.CDLL(None).vsnprintf(text, c_size_t(len(text)), c_char_p(template), c_void_p(values))
        self._messages.append(text.value.decode(errors="replace"))
