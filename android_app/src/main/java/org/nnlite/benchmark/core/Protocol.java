package org.nnlite.benchmark.core;

/**
 * The measurement protocol: when warm-up and timed runs end. The same rules as the host's, {@code
 * workers/nnlite_benchmark/protocol/runs.py}.
 */
public final class Protocol {
    private static final double SECOND_NS = 1e9;

    private final Clock clock;
    private final Bounds bounds;

    public Protocol(Clock clock, Bounds bounds) {
        this.clock = clock;
        this.bounds = bounds;
    }

    /** One inference. */
    public interface Inference {
        /** Runs once and returns the duration of the inference alone, nanoseconds. */
        long invoke() throws Refused;
    }

    /** Called after every run; must be quick. */
    public interface Progress {
        void ran(int runs);
    }

    /** Number of runs, and nanoseconds from the start of the first to the end of the last. */
    public static final class Outcome {
        public final Samples samples;
        public final long elapsedNs;

        Outcome(Samples samples, long elapsedNs) {
            this.samples = samples;
            this.elapsedNs = elapsedNs;
        }
    }

    /**
     * Runs until minimum runs and seconds are reached and runs no longer become faster, or until maximum seconds; at
     * least once.
     */
    public Outcome warmUp(Inference inference, Progress progress) throws Refused {
        Samples samples = new Samples();
        RunningMeans means = new RunningMeans(bounds.warmupTolerance);
        long beginNs = clock.nowNs();
        while (true) {
            long durationNs = inference.invoke();
            samples.add(durationNs);
            means.add(durationNs);
            long elapsedNs = clock.nowNs() - beginNs;
            progress.ran(samples.size());
            if (warmUpEnds(samples.size(), elapsedNs, means.agreeingRuns())) {
                return new Outcome(samples, elapsedNs);
            }
        }
    }

    /**
     * Runs until ({@code minRuns} and {@code minS}) or {@code maxS}; fewer than {@code fewRuns} continue to that
     * number, or to {@code fewRunsMaxS} in total. Checked after each run.
     */
    public Outcome timedRuns(Inference inference, Progress progress) throws Refused {
        Samples samples = new Samples();
        long beginNs = clock.nowNs();
        while (true) {
            samples.add(inference.invoke());
            long elapsedNs = clock.nowNs() - beginNs;
            progress.ran(samples.size());
            if (timedRunsEnd(samples.size(), elapsedNs)) {
                return new Outcome(samples, elapsedNs);
            }
        }
    }

    private boolean warmUpEnds(int runs, long elapsedNs, int agreeingRuns) {
        boolean enough = runs >= bounds.warmupMinRuns && elapsedNs >= bounds.warmupMinS * SECOND_NS;
        boolean steady = agreeingRuns >= bounds.warmupAgreeingRuns;
        return (enough && steady) || elapsedNs >= bounds.warmupMaxS * SECOND_NS;
    }

    private boolean timedRunsEnd(int runs, long elapsedNs) {
        if (runs >= bounds.minRuns && elapsedNs >= bounds.minS * SECOND_NS) {
            return true;
        }
        double mostS = runs >= bounds.fewRuns ? bounds.maxS : bounds.fewRunsMaxS;
        return elapsedNs >= mostS * SECOND_NS;
    }
}
