"""What is learned about a device's fast speed."""

from nnlite_benchmark.protocol.fast_speed import MEMORY, MIN_CANARIES, FastSpeeds

ONE = "LiteRT 2.3.0, threads 1, cores 0"
OTHER = "LiteRT 2.3.0, threads 2, cores 0,1"


def learned(*seen_ns, speeds=None):
    speeds = speeds or FastSpeeds()
    for run_ns in seen_ns:
        speeds.learn(ONE, [run_ns] * MIN_CANARIES, limit=0.08, reset_runs=4)
    return speeds


def test_nothing_is_known_before_the_first_run():
    assert FastSpeeds().fast_ns(ONE) is None


def test_the_fastest_of_the_first_runs_is_known_for_its_configuration_only():
    speeds = learned(160, 100, 161)

    assert (speeds.fast_ns(ONE), speeds.fast_ns(OTHER)) == (100, None)


def test_one_lucky_run_among_many_does_not_set_the_speed():
    assert learned(90, *[100] * 30).fast_ns(ONE) == 100


def test_slower_runs_are_a_busy_neighbour_until_they_are_many():
    assert learned(100, 160, 160, 160).fast_ns(ONE) == 100
    assert learned(100, 160, 160, 160, 100).fast_ns(ONE) == 100
    assert learned(100, 160, 163, 161, 160).fast_ns(ONE) == 160


def test_after_a_change_an_older_speed_does_not_come_back():
    assert learned(*[100] * 30, 160, 160, 160, 160, 170).fast_ns(ONE) == 160


def test_a_run_with_few_canaries_teaches_nothing():
    speeds = FastSpeeds()

    speeds.learn(ONE, [100] * (MIN_CANARIES - 1), limit=0.08, reset_runs=4)

    assert speeds.fast_ns(ONE) is None


def test_what_is_stored_comes_back_and_stays_short():
    stored = learned(*[100] * 100, 99).to_json()
    speeds = FastSpeeds()
    speeds.load(stored)

    assert len(stored[ONE]) == MEMORY
    assert speeds.to_json() == stored
    speeds.load(None)
    assert speeds.to_json() == {}
