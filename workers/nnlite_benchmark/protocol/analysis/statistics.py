"""Latency statistics over all samples of a measurement, and the encoding of samples.

The app computes the same (`Statistics.java`); tests compare both.
"""

import base64
import binascii
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nnlite.reports.schema import Latency
from nnlite_benchmark.protocol.analysis.interval import median_interval

Samples = NDArray[np.int64]

#: Makes the median absolute deviation of a normal distribution its standard deviation.
MAD_SCALE: Final = 1.4826
SLICES: Final = 10
#: Fewest samples for the drift between slices.
MIN_SLICED: Final = 50
#: Fewest samples for each percentile: the smallest n for which at most one sample above the true percentile
#: has a probability of 1 % or less (MLPerf's early stopping).
MIN_SAMPLES: Final = {90: 64, 95: 130, 99: 662}


def summarize(samples_ns: Samples) -> Latency:
    """Return the statistics of at least one sample, in nanoseconds rounded to integers.

    What needs more samples is None. Percentiles interpolate linearly (NumPy's default).
    """
    low, high = median_interval(samples_ns) or (None, None)
    p90, p95, p99 = (
        round(float(np.percentile(samples_ns, percent))) if samples_ns.size >= least else None
        for percent, least in MIN_SAMPLES.items()
    )
    mean = float(samples_ns.mean())
    std = float(samples_ns.std())
    return Latency(
        mean_ns=round(mean),
        median_ns=round(float(np.median(samples_ns))),
        median_low_ns=low,
        median_high_ns=high,
        p90_ns=p90,
        p95_ns=p95,
        p99_ns=p99,
        min_ns=int(samples_ns.min()),
        max_ns=int(samples_ns.max()),
        std_ns=round(std),
        cv=std / mean if mean else 0.0,
        mad_ratio=mad_ratio(samples_ns),
        slice_drift=slice_drift(samples_ns) if samples_ns.size >= MIN_SLICED else None,
    )


def mad_ratio(samples_ns: Samples) -> float:
    """Return 1.4826 x median absolute deviation / median: a spread that is robust to single preemptions."""
    median = float(np.median(samples_ns))
    deviation = float(np.median(np.abs(samples_ns - median)))
    return MAD_SCALE * deviation / median if median else 0.0


def slice_drift(samples_ns: Samples) -> float:
    """Return the range of the medians of ten equal slices of the run: (max - min) / median."""
    medians = [float(np.median(part)) for part in np.array_split(samples_ns, SLICES)]
    median = float(np.median(samples_ns))
    return (max(medians) - min(medians)) / median if median else 0.0


def thinned(number: int, limit: int, seed: int) -> NDArray[np.int64]:
    """Return the sorted indices of at most `limit` of `number` samples, drawn uniformly with `seed`."""
    if number <= limit:
        return np.arange(number)
    return np.sort(np.random.default_rng(seed).choice(number, limit, replace=False))


def decode_samples(text: str, *, max_samples: int) -> Samples:
    """Decode the samples of a run report; see `runs.encode_samples`.

    Raises:
        ValueError: invalid encoding, more than `max_samples`, or a negative duration.
    """
    if not text:
        return np.empty(0, np.int64)
    try:
        compressed = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"samples cannot be decoded: {error}") from error
    return inflate_samples(compressed, max_samples=max_samples)


def inflate_samples(compressed: bytes, *, max_samples: int) -> Samples:
    """Decode the content of a samples file: zlib of little-endian int64 nanoseconds.

    Raises:
        ValueError: invalid encoding, more than `max_samples`, or a negative duration.
    """
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(compressed, max_samples * 8 + 1)
    except zlib.error as error:
        raise ValueError(f"samples cannot be decoded: {error}") from error
    if len(raw) > max_samples * 8 or not inflate.eof or len(raw) % 8:
        raise ValueError(f"samples are truncated or more than {max_samples}")
    samples = np.frombuffer(raw, "<i8").astype(np.int64)
    if samples.size and int(samples.min()) < 0:
        raise ValueError("a sample is negative")
    return samples
