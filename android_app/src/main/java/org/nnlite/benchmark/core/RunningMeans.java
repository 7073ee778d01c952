package org.nnlite.benchmark.core;

/**
 * A fast and a slow running mean of run times; they agree once runs no longer become faster. The same as the host's,
 * {@code workers/nnlite_benchmark/protocol/runs.py}; the weights are androidx.benchmark's.
 */
final class RunningMeans {
    private static final double FAST = 0.1;
    private static final double SLOW = 0.005;

    private final double tolerance;
    private int runs;
    private double fastNs;
    private double slowNs;
    private int agreeingRuns;

    RunningMeans(double tolerance) {
        this.tolerance = tolerance;
    }

    /** Adds the next run. */
    void add(long durationNs) {
        runs++;
        fastNs += Math.max(FAST, 1.0 / runs) * (durationNs - fastNs);
        slowNs += Math.max(SLOW, 1.0 / runs) * (durationNs - slowNs);
        agreeingRuns = fastNs >= (1 - tolerance) * slowNs ? agreeingRuns + 1 : 0;
    }

    /** Returns for how many runs they have agreed. */
    int agreeingRuns() {
        return agreeingRuns;
    }
}
