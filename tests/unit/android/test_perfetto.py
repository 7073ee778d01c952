"""Power rails in perfetto's traces, encoded here by Google's protobuf and the field numbers of AOSP.

No phone was available, and no trace of one.
"""

import base64

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from nnlite.vocabulary import EnergyMethod
from nnlite_benchmark.android.properties.power import traced_rails
from unit.android.metered_phone import MeteredPhone, S, report_of

pytestmark = pytest.mark.fast
_UINT32, _UINT64, _STRING, _FLOAT, _MESSAGE = 13, 4, 9, 2, 11
#: Of protos/perfetto/trace; `uuid` and `other` stand for fields that are not read.
_MESSAGES = {
    "Rail": {"index": (1, _UINT32), "rail_name": (2, _STRING), "subsys_name": (3, _STRING)},
    "Energy": {"index": (1, _UINT32), "timestamp_ms": (2, _UINT64), "energy": (3, _UINT64)},
    "PowerRails": {"rail_descriptor": (1, "Rail"), "energy_data": (2, "Energy"), "uuid": (3, _UINT64)},
    "Packet": {"timestamp": (8, _UINT64), "power_rails": (40, "PowerRails"), "other": (99, _FLOAT)},
    "Trace": {"packet": (1, "Packet")},
}  # fmt: skip
_ONE = {"power_rails"}


def _trace_class():
    file = descriptor_pb2.FileDescriptorProto(name="trace.proto", package="traced", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            is_message = isinstance(kind, str)
            message.field.add(
                name=field,
                number=number,
                type=_MESSAGE if is_message else kind,
                type_name=f".traced.{kind}" if is_message else None,
                label=3 if is_message and field not in _ONE else 1,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("traced.Trace"))


TRACE = _trace_class()


def printed(at_s=10.0, joules=(250_000.25, 1_203.5), names=("S2M_VDD_CPUCL2", "S10M_VDD_TPU")):
    """What the command prints of a trace."""
    trace = TRACE()
    trace.packet.add(other=1.5)
    packet = trace.packet.add(timestamp=round(at_s * S), other=2.5)
    for index, name in enumerate(names):
        packet.power_rails.rail_descriptor.add(index=index, rail_name=name, subsys_name="CPU")
    for index, energy in enumerate(joules):
        packet.power_rails.energy_data.add(index=index, timestamp_ms=9, energy=round(energy * 1e6))
    packet.power_rails.uuid = 1 << 63
    # Without descriptors, as a second tick has it.
    trace.packet.add(timestamp=S).power_rails.energy_data.add(index=0, energy=1)
    return base64.encodebytes(trace.SerializeToString()).decode()


def traced(per_reading_s=1):
    """Return the outputs of a phone whose rails count on, 2 W and 0.5 W, by a clock of its own."""

    def outputs(now_s):
        return {"perfetto": printed(at_s=100 + per_reading_s * now_s, joules=(2 * now_s, 0.5 * now_s))}

    return outputs


def test_rails_are_read_with_their_time_and_names():
    assert traced_rails(printed()) == (
        10.0,
        {"CPU S2M_VDD_CPUCL2": 250_000_250_000, "CPU S10M_VDD_TPU": 1_203_500_000},
    )
    assert traced_rails(printed().replace("\n", "\r\n")) == traced_rails(printed())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/system/bin/sh: perfetto: inaccessible or not found",
        "AAAA",
        "====",
        printed(names=(), joules=()),
        printed(names=()),
    ],
)
def test_without_rails_there_are_none(text):
    assert traced_rails(text)[1] == {}


def test_what_is_cut_off_anywhere_is_no_error():
    whole = base64.b64decode(printed())
    for length in range(len(whole)):
        _, rails = traced_rails(base64.b64encode(whole[:length]).decode())
        assert all(energy_uj >= 0 for energy_uj in rails.values())
    assert traced_rails(base64.b64encode(b"\xff" * 40).decode()) == (0.0, {})


def test_names_are_printable_and_their_number_is_limited():
    names = [f"\x1b[31mRAIL{number}" for number in range(1000)]
    rails = traced_rails(printed(names=names, joules=range(1000)))[1]
    assert len(rails) == 256 and all(name.isprintable() for name in rails)


@pytest.mark.parametrize("per_reading_s", [0, -1])
def test_a_clock_that_does_not_go_on_gives_no_energy(per_reading_s):
    measured = MeteredPhone(traced(per_reading_s)).pass_of(60).added_to(report_of())

    assert measured.energy is None
    assert measured.energy_error == "the readings of its power rails are not in order of time"


def test_a_phone_whose_hal_prints_nothing_is_measured_by_perfetto_alone():
    phone = MeteredPhone(traced())
    measured = phone.pass_of(60).added_to(report_of()).energy

    assert measured.method is EnergyMethod.PERFETTO
    assert measured.power_w == pytest.approx(2.5, rel=1e-3)
    assert measured.energy_uj == pytest.approx(25_000, rel=1e-3)
    assert measured.rails_w == pytest.approx({"CPU S2M_VDD_CPUCL2": 2, "CPU S10M_VDD_TPU": 0.5}, rel=1e-3)
    assert phone.asked[0] == ["hal2", "hal1"] and set(map(tuple, phone.asked[1:])) == {("perfetto",)}
    assert len(phone.asked) <= 17
