package org.nnlite.benchmark.core;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/** Charge and voltage of the battery while the artifact runs without pauses, in order of time. */
public final class BatterySeries {
    /** Reading takes milliseconds, and counters of charge change slowly. */
    private static final long LEAST_INTERVAL_NS = 5_000_000_000L;

    private final Clock clock;
    private final Supplier<Reading> battery;
    private final long beginNs;
    private final List<Long> atNs = new ArrayList<>();
    private final List<Reading> readings = new ArrayList<>();

    /** What a battery says of itself; null: it does not. */
    public static final class Reading {
        /** What is left in it, microampere-hours. */
        public Long chargeUah;

        public Integer voltageMv;

        /** A charger or a computer feeds the device. */
        public Boolean plugged;
    }

    /** Begins now. */
    public BatterySeries(Clock clock, Supplier<Reading> battery) {
        this.clock = clock;
        this.battery = battery;
        this.beginNs = clock.nowNs();
    }

    /** Reads the battery. */
    void read() {
        long readNs = clock.nowNs();
        readings.add(battery.get());
        atNs.add(readNs - beginNs);
    }

    /** Reads the battery, if the last reading is long ago. */
    void readIfDue() {
        if (clock.nowNs() - beginNs - atNs.get(atNs.size() - 1) >= LEAST_INTERVAL_NS) {
            read();
        }
    }

    /** Returns the part {@code BatterySeries} of a report. */
    Map<String, Object> toJson() {
        List<Long> charges = new ArrayList<>();
        List<Integer> voltages = new ArrayList<>();
        List<Boolean> plugged = new ArrayList<>();
        for (Reading reading : readings) {
            charges.add(reading.chargeUah);
            voltages.add(reading.voltageMv);
            plugged.add(reading.plugged);
        }
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("at_ns", atNs);
        json.put("charge_uah", charges);
        json.put("voltage_mv", voltages);
        json.put("plugged", plugged);
        return json;
    }
}
