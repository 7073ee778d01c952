package org.nnlite.benchmark.core;

import java.util.Arrays;

/** Durations in chronological order, nanoseconds, without an object for each. */
public final class Samples {
    private long[] values = new long[4096];
    private int size;

    public void add(long durationNs) {
        if (size == values.length) {
            values = Arrays.copyOf(values, 2 * size);
        }
        values[size++] = durationNs;
    }

    public int size() {
        return size;
    }

    public long[] toArray() {
        return Arrays.copyOf(values, size);
    }
}
