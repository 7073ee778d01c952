"""Progress in one line: counts, rate, time left."""

import io

import pytest
from rich.console import Console

from nnlite.cli.presenting import watch as module
from nnlite.cli.presenting.presentation import duration
from nnlite.cli.presenting.watch import Rate, panel, summary
from nnlite.results.queries import Progress

COUNTS = dict.fromkeys(Progress.__dataclass_fields__, 0)


def progress(**changes) -> Progress:
    usual = {"name": "night", "state": "active", "ended": False, "models": 12}
    return Progress(**(COUNTS | usual | changes))


def rate_of(*observations: tuple[float, int]) -> Rate:
    rate = Rate()
    for now_s, finished in observations:
        rate.note(now_s, finished)
    return rate


def test_a_rate_is_models_per_hour_since_the_first_look():
    rate = rate_of((100, 3), (160, 4), (220, 5))
    assert rate.per_hour() == 60
    assert rate.left_s(10) == 600


@pytest.mark.parametrize("observations", [[(100, 3)], [(100, 3), (200, 3)], [(100, 3), (100, 4)]])
def test_there_is_no_rate_before_a_model_has_ended(observations):
    rate = rate_of(*observations)
    assert (rate.per_hour(), rate.left_s(5)) == (None, None)


def test_a_rate_is_that_of_the_last_ten_minutes():
    slow, fast = [(0, 0), (3600, 1)], [(3900, 31), (4200, 61)]
    assert rate_of(*slow, *fast).per_hour() == 360
    assert rate_of((0, 0), (3600, 1)).per_hour() is None, "one look alone says nothing"


def test_a_campaign_is_one_line():
    line = summary(
        progress(converted=5, measured=3, conversions_failed=1, conversions_queued=6),
        rate_of((0, 0), (60, 1)),
    )
    assert line == "night: 6/12 models, 5 converted, 3 measured, 1 failed, 60 models/h, 6 min left"


def test_normal_values_are_not_shown():
    assert summary(progress()) == "night: 12/12 models, 0 converted, 0 measured, 0 failed"
    line = summary(progress(converted=4, from_cache=3, skipped=2, state="paused"))
    assert line == "night: 12/12 models, 4 converted (3 cached), 0 measured, 0 failed, 2 skipped, paused"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (45.4, "45 s"), (89.4, "89 s"), (90, "2 min"), (1800, "30 min"), (5399, "1 h 30 min"),
     (7500, "2 h 05 min"), (360_000, "100 h 00 min")],
)  # fmt: skip
def test_durations_are_formatted_for_people(seconds, text):
    assert duration(seconds) == text


def test_running_work_is_shown_with_device_backend_and_stage():
    now = [
        {"work": "benchmark", "model": "BagNet", "device": "avd:pixel4-1@lab", "backend": "gpu",
         "stage": "warm-up", "seconds": 12.0},
        {"work": "conversion", "model": "DarkNet", "device": None, "backend": None, "stage": None,
         "seconds": 200.0},
    ]  # fmt: skip
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(panel("night: 6/12 models", progress(), now))
    shown = [line.split() for line in console.export_text().splitlines()]
    assert ["benchmark", "BagNet", "avd:pixel4-1@lab", "gpu", "warm-up", "12", "s"] in shown
    assert ["conversion", "DarkNet", "3", "min"] in shown


def test_what_a_campaign_waits_for_is_printed_once_until_its_counts_change(monkeypatch):
    looks = iter([
        (progress(models=2, conversions_queued=2), []),
        *[(progress(models=2, conversions_queued=2), now) for now in ([], ["a row"], [])],
        (progress(models=2, converted=1, conversions_queued=1), []),
        (progress(models=2, ended=True), []),
    ])  # fmt: skip
    now, printed = [], []

    def look(_engine, _name):
        shown, now[:] = next(looks)
        return [shown]

    monkeypatch.setattr(module, "campaigns", look)
    monkeypatch.setattr(module, "running", lambda *_: [*now])
    monkeypatch.setattr(module, "note", lambda text: printed.extend(text.splitlines()))
    monkeypatch.setattr(module.time, "sleep", lambda _: None)

    module.watch(None, "night", explain=lambda _: ["waiting"], wait=lambda _: None)

    assert [line.partition(" failed")[0] for line in printed] == [
        "night: 0/2 models, 0 converted, 0 measured, 0",
        "waiting",
        "night: 1/2 models, 1 converted, 0 measured, 0",
        "waiting",
    ]
