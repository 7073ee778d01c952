package org.nnlite.benchmark.core;

/** A monotonic clock. */
public interface Clock {
    /** Nanoseconds since some moment that stays the same. */
    long nowNs();
}
