package org.nnlite.benchmark.core;

import static org.junit.Assert.assertEquals;

import org.junit.Test;
import org.nnlite.benchmark.core.Runs.HandClock;

import java.util.Arrays;
import java.util.Map;

public final class BatterySeriesTest {
    private final HandClock clock = new HandClock();
    private long chargeUah = 3_000_000;

    @Test
    public void theBatteryIsReadEveryFewSeconds() {
        BatterySeries series = new BatterySeries(clock, this::reading);
        series.read();
        for (int second = 0; second < 12; second++) {
            clock.nowNs += 1_000 * Runs.MS;
            chargeUah -= 100;
            series.readIfDue();
        }
        series.read();

        Map<String, Object> json = series.toJson();
        assertEquals(Arrays.asList(0L, 5_000 * Runs.MS, 10_000 * Runs.MS, 12_000 * Runs.MS), json.get("at_ns"));
        assertEquals(Arrays.asList(3_000_000L, 2_999_500L, 2_999_000L, 2_998_800L), json.get("charge_uah"));
        assertEquals(Arrays.asList(3_900, 3_900, 3_900, 3_900), json.get("voltage_mv"));
        assertEquals(Arrays.asList(null, null, null, null), json.get("plugged"));
    }

    private BatterySeries.Reading reading() {
        BatterySeries.Reading reading = new BatterySeries.Reading();
        reading.chargeUah = chargeUah;
        reading.voltageMv = 3_900;
        return reading;
    }
}
