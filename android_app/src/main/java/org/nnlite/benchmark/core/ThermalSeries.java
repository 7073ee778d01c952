package org.nnlite.benchmark.core;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Thermal status and headroom of the device while the artifact runs, in order of time. Thread-safe. */
public final class ThermalSeries {
    /** Of the report's schema; with one entry a second more than an hour. */
    private static final int MOST_ENTRIES = 4096;

    private final Clock clock;
    private final long beginNs;
    private final List<Long> atNs = new ArrayList<>();
    private final List<Integer> statuses = new ArrayList<>();
    private final List<Double> headrooms = new ArrayList<>();

    /** Begins now. */
    public ThermalSeries(Clock clock) {
        this.clock = clock;
        this.beginNs = clock.nowNs();
    }

    /**
     * Adds what the device says now.
     *
     * @param status PowerManager.THERMAL_STATUS_*; null: unknown
     * @param headroom 1 is where severe throttling begins; NaN: unknown
     */
    public synchronized void add(Integer status, float headroom) {
        if (atNs.size() < MOST_ENTRIES) {
            atNs.add(clock.nowNs() - beginNs);
            statuses.add(status);
            headrooms.add(Float.isNaN(headroom) || Float.isInfinite(headroom) ? null : (double) headroom);
        }
    }

    /** Returns the part {@code ThermalSeries} of a report; null: the device says nothing. */
    synchronized Map<String, Object> toJson() {
        if (atNs.isEmpty()) {
            return null;
        }
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("at_ns", new ArrayList<>(atNs));
        json.put("status", new ArrayList<>(statuses));
        json.put("headroom", new ArrayList<>(headrooms));
        return json;
    }
}
