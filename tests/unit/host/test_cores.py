"""Cores for measurements and conversions: `nnlite.host.cores`."""

import pytest

from nnlite.host.cores import canonical_choice, choose_cores, chosen_cores, pin_to
from nnlite.settings import SettingsError
from nnlite.vocabulary import QuietMode


@pytest.fixture
def machine(tmp_path):
    """Make a machine: `machine(8, threads=2)` has 8 logical processors, i and i + 4 on one core."""

    def make(count, threads=1):
        physical = count // threads
        for core in range(count):
            folder = tmp_path / f"cpu{core}" / "topology"
            folder.mkdir(parents=True)
            siblings = [str(core % physical + physical * thread) for thread in range(threads)]
            (folder / "thread_siblings_list").write_text(",".join(siblings))
        return {"available": range(count), "topology": tmp_path}

    return make


def test_from_four_cores_on_the_last_half_measures(machine):
    cores = choose_cores(**machine(8))

    assert cores.mode is QuietMode.PINNED_CORES
    assert (cores.converting, cores.measuring) == ((0, 1, 2, 3), (4, 5, 6, 7))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_below_four_cores_all_cores_are_time_sliced(machine, count):
    cores = choose_cores(**machine(count))

    assert cores.mode is QuietMode.TIME_SLICED
    assert cores.measuring == cores.converting == tuple(range(count))


def test_no_conversion_shares_a_physical_core_with_a_measurement(machine):
    cores = choose_cores(**machine(8, threads=2))

    assert cores.converting == (0, 4, 1, 5)
    assert cores.measuring == (2, 3)


def test_four_threads_of_one_core_cannot_be_separated(machine):
    assert choose_cores(**machine(4, threads=4)).mode is QuietMode.TIME_SLICED


def test_chosen_cores_measure_and_the_others_convert(machine):
    cores = choose_cores("1, 3-4", **machine(6))

    assert (cores.measuring, cores.converting) == ((1, 3, 4), (0, 2, 5))
    assert cores.mode is QuietMode.PINNED_CORES


def test_chosen_cores_of_a_small_machine_are_still_time_sliced(machine):
    cores = choose_cores("1", **machine(2))

    assert (cores.mode, cores.measuring, cores.converting) == (QuietMode.TIME_SLICED, (1,), (0, 1))


def test_choosing_every_core_means_time_slicing(machine):
    assert choose_cores("0-7", **machine(8)).mode is QuietMode.TIME_SLICED


@pytest.mark.parametrize("setting", ["9", "two", "1-x"])
def test_a_setting_that_names_no_usable_core_is_reported(machine, setting):
    with pytest.raises(SettingsError, match=f"NNLITE_MEASUREMENT__CORES={setting}"):
        choose_cores(setting, **machine(4))


def test_containers_with_cores_of_their_own_are_pinned(machine):
    """The one has cores 0-3, the other 4-7; neither sees more than its own."""
    whole = machine(8)
    converter = choose_cores("4-7", "0-3", available=range(4), topology=whole["topology"])
    measurer = choose_cores("4-7", "0-3", available=range(4, 8), topology=whole["topology"])

    assert converter == measurer
    assert (converter.mode, converter.measuring) == (QuietMode.PINNED_CORES, (4, 5, 6, 7))
    assert converter.converting == (0, 1, 2, 3)


def test_containers_that_share_the_cores_of_a_small_machine_are_time_sliced(machine):
    assert choose_cores("", "", **machine(2)).mode is QuietMode.TIME_SLICED


@pytest.mark.parametrize(
    ("measuring", "converting", "message"),
    [
        ("", "0-1", "NNLITE_CONVERSION__CORES=0,1 needs NNLITE_MEASUREMENT__CORES as well; set both"),
        ("2-3", "0-2", "share the physical core of 2; give it to one of them"),
        ("4-5", "0-3", "share the physical core of 0,4; give it to one of them"),
        ("12", "13", "this process has neither, only 0,1,2,3,4,5,6,7"),
        ("2", "x", "NNLITE_CONVERSION__CORES=x: write cores as 2,3 or 4-7"),
    ],
)
def test_overlapping_cores_are_refused(machine, measuring, converting, message):
    with pytest.raises(SettingsError, match=message):
        choose_cores(measuring, converting, **machine(8, threads=2))


def test_a_process_is_pinned_to_cores_that_it_may_use():
    with pytest.raises(SettingsError, match=r"cores 1023 cannot be used here, only .*: see NNLITE_MEASURE"):
        pin_to((1023,))


@pytest.mark.parametrize(
    ("choice", "canonical"),
    [
        ("fast", "fast"), ("all", "all"), ("4-7", "4,5,6,7"), ("3,2", "2,3"), ("0,4-5", "0,4,5"), ("7", "7"),
        ("0xf0", "4,5,6,7"), ("0x1", "0"), ("0x8000000000000001", "0,63"),
    ],
)  # fmt: skip
def test_a_choice_of_cores_has_one_form(choice, canonical):
    assert canonical_choice(choice) == canonical == canonical_choice(canonical)


@pytest.mark.parametrize(
    "choice", ["", "FAST", "f0", "0x", "0x0", "4-", "7-4", "1,,2", "-1", "0x1ffffffffffffffff", "1 2"]
)
def test_what_names_no_cores_is_refused_with_what_does(choice):
    with pytest.raises(ValueError, match="write fast, all, numbers as 4-7 or 2,3, or a mask as 0xf0"):
        canonical_choice(choice)


PHONE = {0: 1_800_000, 1: 1_800_000, 4: 2_400_000, 5: 2_400_000, 7: 2_900_000}


@pytest.mark.parametrize(
    ("choice", "cores"), [("fast", (7,)), ("all", (0, 1, 4, 5, 7)), ("4,5", (4, 5)), ("7", (7,))]
)
def test_a_choice_means_cores_of_a_device(choice, cores):
    assert chosen_cores(choice, PHONE) == cores


def test_equal_cores_are_all_fast():
    assert chosen_cores("fast", {2: 3_000_000, 3: 3_000_000}) == (2, 3)


@pytest.mark.parametrize(
    ("choice", "khz", "message"),
    [
        ("6,7", PHONE, "there is no core 6 to measure on, only 0,1,4,5,7"),
        ("fast", {0: None, 1: None}, "which of the cores 0,1 are fast is not known; name them by number"),
        ("fast", {0: 1_800_000, 1: None}, "is not known"),
        ("fast", {}, "is not known"),
    ],
)
def test_cores_that_a_device_has_not_or_does_not_tell_are_refused(choice, khz, message):
    with pytest.raises(ValueError, match=message):
        chosen_cores(choice, khz)
