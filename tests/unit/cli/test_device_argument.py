"""`--device` and `--pool`: what they may say, and what is reported of the rest."""

import pytest

from nnlite.campaigns.device_argument import device_argument
from nnlite.errors import UsageError


@pytest.mark.parametrize("text", ["avd:pixel4-1", "avd:Pixel_4.a", "usb:R58M12ABCDE", "tcp:10.0.0.7:5555"])
def test_android_devices_are_parsed_with_their_pool(text):
    named = device_argument(text, "pixel4-api30")
    assert (named.text, named.pool, named.on_host) == (text, "pixel4-api30", False)
    assert named.worker_name == f"benchmark-{text}"


def test_the_host_has_a_pool_of_its_own_and_may_have_another():
    assert device_argument("host", None).pool == "host"
    assert device_argument("host", "xeons").pool == "xeons"
    assert device_argument("host", None).worker_name == "benchmark-host"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no such device"),
        ("pixel4", "no such device"),
        ("host:1", "no such device"),
        ("adb:1", "no such device"),
        ("avd:", "an AVD's name has letters"),
        ("avd:a b", "an AVD's name has letters"),
        ("avd:../x", "an AVD's name has letters"),
        ("usb:", "a serial is missing"),
        ("usb:a b", "a serial is missing"),
        ("tcp:", "not HOST:PORT"),
        ("tcp:10.0.0.7", "not HOST:PORT"),
        ("tcp:10.0.0.7:0", "not HOST:PORT"),
        ("tcp:10.0.0.7:70000", "not HOST:PORT"),
        ("tcp::5555", "not HOST:PORT"),
    ],
)
def test_anything_else_is_refused_with_the_forms_that_there_are(text, message):
    with pytest.raises(UsageError, match=rf"--device {text}: .*{message}.*; write avd:NAME"):
        device_argument(text, "pixel4-api30")


@pytest.mark.parametrize("pool", [None, ""])
def test_a_device_that_is_not_the_host_needs_a_pool(pool):
    with pytest.raises(UsageError, match="--device avd:pixel4-1 needs --pool"):
        device_argument("avd:pixel4-1", pool)


def test_a_phone_is_not_interchangeable_with_a_machine():
    with pytest.raises(UsageError, match="--pool host is that of machines, not of usb:R5"):
        device_argument("usb:R5", "host")


def test_a_workers_name_is_safe_for_celery_whatever_the_serial():
    assert device_argument("usb:R5@8%h", "phones").worker_name == "benchmark-usb:R5-8-h"
