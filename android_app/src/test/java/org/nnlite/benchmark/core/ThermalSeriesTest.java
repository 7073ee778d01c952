package org.nnlite.benchmark.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNull;

import org.junit.Test;
import org.nnlite.benchmark.core.Runs.HandClock;

import java.util.Arrays;
import java.util.List;
import java.util.Map;

public final class ThermalSeriesTest {
    private final HandClock clock = new HandClock();

    @Test
    public void aDeviceThatSaysNothingHasNoSeries() {
        assertNull(new ThermalSeries(clock).toJson());
    }

    @Test
    public void entriesHaveTheTimeSinceTheBeginningAndUnknownHeadroomIsNull() {
        clock.nowNs = 5_000;
        ThermalSeries series = new ThermalSeries(clock);
        series.add(1, Float.NaN);
        clock.nowNs = 7_000;
        series.add(null, 0.5f);

        Map<String, Object> json = series.toJson();

        assertEquals(Arrays.asList(0L, 2_000L), json.get("at_ns"));
        assertEquals(Arrays.asList(1, null), json.get("status"));
        assertEquals(Arrays.asList(null, 0.5), json.get("headroom"));
    }

    @Test
    public void aSeriesDoesNotGrowWithoutEnd() {
        ThermalSeries series = new ThermalSeries(clock);
        for (int number = 0; number < 10_000; number++) {
            series.add(0, 0f);
        }

        assertEquals(4096, ((List<?>) series.toJson().get("status")).size());
    }
}
