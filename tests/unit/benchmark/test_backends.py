"""What a request may ask of a kind of device is what the device has."""

from nnlite.vocabulary import BACKENDS, Backend, DeviceKind
from nnlite_benchmark.host.device import RUNTIMES


def test_a_host_has_the_backends_that_requests_may_ask_of_it() -> None:
    assert BACKENDS[DeviceKind.HOST] == RUNTIMES.keys()


def test_every_kind_of_device_has_backends_and_every_backend_a_device() -> None:
    assert set(BACKENDS) == set(DeviceKind)
    assert set().union(*BACKENDS.values()) == set(Backend)
