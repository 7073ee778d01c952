"""Statistics equal NumPy's over all samples; thinning is uniform, seeded and in order."""

import base64
import zlib
from array import array

import numpy as np
import pytest

from nnlite_benchmark.protocol.analysis.statistics import (
    decode_samples,
    mad_ratio,
    slice_drift,
    summarize,
    thinned,
)
from nnlite_benchmark.protocol.runs import encode_samples


@pytest.fixture
def samples():
    return np.random.default_rng(5).lognormal(14, 0.1, 5000).astype(np.int64)


def test_every_statistic_equals_numpys(samples):
    latency = summarize(samples)

    assert latency.mean_ns == round(samples.mean())
    assert latency.median_ns == round(np.median(samples))
    assert (latency.p90_ns, latency.p95_ns, latency.p99_ns) == tuple(
        round(value) for value in np.percentile(samples, (90, 95, 99))
    )
    assert (latency.min_ns, latency.max_ns) == (samples.min(), samples.max())
    assert latency.std_ns == round(samples.std())
    assert latency.cv == pytest.approx(samples.std() / samples.mean())


def test_few_runs_have_no_slices(samples):
    assert summarize(samples[:49]).slice_drift is None
    assert summarize(samples[:50]).slice_drift is not None


def fewest_samples(percent: int) -> int:
    """Return the smallest n for which at most one sample above the percentile has 1 % probability."""
    below, size = percent / 100, 1
    while below**size + size * (1 - below) * below ** (size - 1) > 0.01:
        size += 1
    return size


@pytest.mark.parametrize("percent", [90, 95, 99])
def test_a_percentile_needs_mlperfs_number_of_samples(samples, percent):
    fewest = fewest_samples(percent)

    assert getattr(summarize(samples[: fewest - 1]), f"p{percent}_ns") is None
    assert getattr(summarize(samples[:fewest]), f"p{percent}_ns") is not None


def test_one_sample_is_enough_for_statistics():
    latency = summarize(np.array([7_000_000]))

    assert (latency.median_ns, latency.std_ns, latency.mad_ratio) == (7_000_000, 0, 0.0)
    assert (latency.median_low_ns, latency.median_high_ns, latency.p90_ns) == (None, None, None)


def test_one_preemption_changes_the_cv_but_not_the_mad_ratio():
    steady = np.full(65_000, 30_000)
    steady[1234] = 60_000_000

    latency = summarize(steady)

    assert latency.cv > 1
    assert latency.mad_ratio == 0.0
    assert latency.slice_drift == 0.0


def test_the_spread_of_a_normal_distribution_is_its_relative_standard_deviation():
    samples = np.random.default_rng(0).normal(1e7, 5e5, 50_000).astype(np.int64)

    assert mad_ratio(samples) == pytest.approx(0.05, rel=0.05)


def test_a_run_that_slows_down_by_a_fifth_drifts_by_a_fifth():
    samples = np.concatenate([np.full(900, 100_000), np.full(100, 120_000)])

    assert slice_drift(samples) == pytest.approx(0.2)


def test_thinning_keeps_order_and_repeats_for_a_seed():
    kept = thinned(100_000, 10_000, seed=3)

    assert kept.size == 10_000
    assert (np.diff(kept) > 0).all()
    assert np.array_equal(kept, thinned(100_000, 10_000, seed=3))
    assert not np.array_equal(kept, thinned(100_000, 10_000, seed=4))
    assert np.array_equal(thinned(5000, 5000, seed=3), np.arange(5000))


def test_thinning_is_uniform_over_the_run():
    kept = thinned(100_000, 10_000, seed=1)

    per_tenth = np.histogram(kept, bins=10, range=(0, 100_000))[0]

    assert per_tenth.min() > 800
    assert per_tenth.max() < 1200


def test_samples_survive_encoding_in_a_run_report():
    sent = array("q", [1, 5_000_000_000, 0, 12])

    assert decode_samples(encode_samples(sent), max_samples=4).tolist() == sent.tolist()


@pytest.mark.parametrize(
    "text",
    [
        "not base64 !",
        base64.b64encode(b"not zlib").decode(),
        base64.b64encode(zlib.compress(b"1234567")).decode(),
        base64.b64encode(zlib.compress(bytes(8 * 1000))).decode(),
        base64.b64encode(zlib.compress(bytes(80))[:-3]).decode(),
        base64.b64encode(zlib.compress(b"\xff" * 8)).decode(),
    ],
    ids=["base64", "zlib", "length", "too many", "cut off", "negative"],
)
def test_invalid_samples_are_rejected(text):
    with pytest.raises(ValueError, match="sample"):
        decode_samples(text, max_samples=100)
