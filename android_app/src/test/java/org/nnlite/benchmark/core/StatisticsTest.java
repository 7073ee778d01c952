package org.nnlite.benchmark.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNull;

import org.junit.Test;

import java.util.Map;

/** Equality with the host's is tested in Python. */
public final class StatisticsTest {
    @Test
    public void percentilesLieBetweenSamples() {
        Map<String, Object> latency = Statistics.summarize(new long[] {40, 10, 30, 20});

        assertEquals(25L, latency.get("median_ns"));
        assertEquals(25L, latency.get("mean_ns"));
        assertEquals(10L, latency.get("min_ns"));
        assertEquals(40L, latency.get("max_ns"));
    }

    @Test
    public void fewRunsHaveNoTailsNoSlicesAndNoInterval() {
        Map<String, Object> latency = Statistics.summarize(new long[] {10, 20, 30});

        assertNull(latency.get("median_low_ns"));
        assertNull(latency.get("median_high_ns"));
        assertNull(latency.get("p90_ns"));
        assertNull(latency.get("p95_ns"));
        assertNull(latency.get("p99_ns"));
        assertNull(latency.get("slice_drift"));
    }

    @Test
    public void onePreemptionDoesNotMoveTheSpread() {
        long[] samples = new long[100];
        java.util.Arrays.fill(samples, 1_000);
        samples[50] = 1_000_000;

        Map<String, Object> latency = Statistics.summarize(samples);

        assertEquals(0.0, latency.get("mad_ratio"));
        assertEquals(0.0, latency.get("slice_drift"));
    }

    @Test
    public void aRunThatBecomesSlowerDrifts() {
        long[] samples = new long[105];
        for (int index = 0; index < samples.length; index++) {
            samples[index] = index < 50 ? 1_000 : 1_200;
        }

        assertEquals(200.0 / 1_200.0, Statistics.summarize(samples).get("slice_drift"));
    }

    @Test
    public void oneSampleHasNoSpread() {
        Map<String, Object> latency = Statistics.summarize(new long[] {77});

        assertEquals(77L, latency.get("median_ns"));
        assertEquals(0.0, latency.get("cv"));
    }
}
