package org.nnlite.benchmark.core;

/** Bounds of warm-up and timed runs; seconds of a monotonic clock. */
public final class Bounds {
    public final int warmupMinRuns;
    public final double warmupMinS;
    public final double warmupMaxS;
    public final int warmupAgreeingRuns;
    public final double warmupTolerance;
    public final int minRuns;
    public final double minS;
    public final double maxS;
    public final int fewRuns;
    public final double fewRunsMaxS;

    public Bounds(
            int warmupMinRuns,
            double warmupMinS,
            double warmupMaxS,
            int warmupAgreeingRuns,
            double warmupTolerance,
            int minRuns,
            double minS,
            double maxS,
            int fewRuns,
            double fewRunsMaxS) {
        this.warmupMinRuns = warmupMinRuns;
        this.warmupMinS = warmupMinS;
        this.warmupMaxS = warmupMaxS;
        this.warmupAgreeingRuns = warmupAgreeingRuns;
        this.warmupTolerance = warmupTolerance;
        this.minRuns = minRuns;
        this.minS = minS;
        this.maxS = maxS;
        this.fewRuns = fewRuns;
        this.fewRunsMaxS = fewRunsMaxS;
    }
}
