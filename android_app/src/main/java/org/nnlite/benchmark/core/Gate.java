package org.nnlite.benchmark.core;

/** Settings of gated sampling; see {@link GatedRuns}. */
public final class Gate {
    /** The canary's artifact, a full path. */
    public final String model;

    public final double sliceS;
    public final double canaryS;
    public final double learnS;

    /** A canary that is slower than the fast speed by more than this share is slow. */
    public final double limit;

    /** Duration of the canary on a fast core, nanoseconds; 0: not known yet. */
    public final long fastNs;

    public Gate(String model, double sliceS, double canaryS, double learnS, double limit, long fastNs) {
        this.model = model;
        this.sliceS = sliceS;
        this.canaryS = canaryS;
        this.learnS = learnS;
        this.limit = limit;
        this.fastNs = fastNs;
    }
}
