package org.nnlite.benchmark.core;

/** A monotonic clock. */
public interface Clock {
    /** Nanoseconds since a fixed origin. */
    long nowNs();
}
