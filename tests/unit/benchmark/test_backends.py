"""What a request may ask of a kind of device is what the device has."""

from importlib.util import find_spec

import pytest

from nnlite.backends import BACKENDS, HOST_RUNTIMES, RUNTIME_OF_FORMAT
from nnlite.vocabulary import ArtifactFormat, Backend, DeviceKind


@pytest.mark.parametrize("runtime", HOST_RUNTIMES.values(), ids=HOST_RUNTIMES)
def test_every_runtime_of_hosts_has_a_module_that_runs_artifacts_in_it(runtime) -> None:
    assert find_spec(f"nnlite_benchmark.host.{runtime.session}")


def test_every_format_has_a_runtime() -> None:
    assert {*RUNTIME_OF_FORMAT, ArtifactFormat.TFLITE} == set(ArtifactFormat)


def test_every_kind_of_device_has_backends_and_every_backend_a_device() -> None:
    assert set(BACKENDS) == set(DeviceKind)
    assert set().union(*BACKENDS.values()) == set(Backend)
