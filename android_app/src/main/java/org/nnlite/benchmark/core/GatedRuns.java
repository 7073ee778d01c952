package org.nnlite.benchmark.core;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Gated sampling: timed runs in slices between canaries, in the same thread; a slice counts if both its canaries were
 * fast. The same rules as the host's, {@code workers/nnlite_benchmark/protocol/gating.py}, which also explains them.
 */
public final class GatedRuns {
    private static final double SECOND_NS = 1e9;
    private static final int LEAST_SLICES = 3;
    private static final int HOPEFUL_SLICES = 2;
    private static final double PATIENCE_S = 10;
    private static final int LEAST_CANARY_RUNS = 3;
    private static final int SUPPORT = 3;
    private static final int QUANTILE = 20;

    private final Protocol.Inference inference;
    private final Protocol.Inference canary;
    private final Protocol.Progress progress;
    private final Clock clock;
    private final Bounds bounds;
    private final Gate gate;

    private final Samples samples = new Samples();
    private final List<Long> canariesNs = new ArrayList<>();
    private final List<Long> learningNs = new ArrayList<>();
    private final List<Long> firstNs = new ArrayList<>();
    private final List<Integer> sliceRuns = new ArrayList<>();
    private final List<Long> sliceNs = new ArrayList<>();
    private long elapsedNs;

    public GatedRuns(
            Protocol.Inference inference,
            Protocol.Inference canary,
            Protocol.Progress progress,
            Clock clock,
            Bounds bounds,
            Gate gate) {
        this.inference = inference;
        this.canary = canary;
        this.progress = progress;
        this.clock = clock;
        this.bounds = bounds;
        this.gate = gate;
    }

    /**
     * Times runs until enough of them count, or no more will.
     *
     * @param typicalNs duration of an inference; of a model that fills a slice with one, no run is dropped
     */
    public Protocol.Outcome run(long typicalNs) throws Refused {
        boolean dropsFirst = typicalNs < gate.sliceS * SECOND_NS;
        if (gate.fastNs == 0) {
            double endNs = clock.nowNs() + gate.learnS * SECOND_NS;
            while (clock.nowNs() < endNs) {
                learningNs.add(canaryNs());
            }
        }
        canariesNs.add(canaryNs());
        long beginNs = clock.nowNs();
        do {
            timeSlice(dropsFirst);
            elapsedNs = clock.nowNs() - beginNs;
            canariesNs.add(canaryNs());
        } while (!hasEnded());
        return new Protocol.Outcome(samples, elapsedNs);
    }

    /** Returns the part {@code Slices} of a report. */
    public Map<String, Object> toJson() {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("canaries_ns", canariesNs);
        json.put("slice_runs", sliceRuns);
        json.put("slice_first_ns", firstNs);
        json.put("learning_ns", learningNs);
        return json;
    }

    /** Runs the canary and returns the median of the second half of its runs; the model displaced its data. */
    private long canaryNs() throws Refused {
        double halfNs = gate.canaryS * SECOND_NS / 2;
        double endNs = clock.nowNs() + halfNs;
        do {
            canary.invoke();
        } while (clock.nowNs() < endNs);
        Samples timed = new Samples();
        endNs = clock.nowNs() + halfNs;
        do {
            timed.add(canary.invoke());
        } while (timed.size() < LEAST_CANARY_RUNS || clock.nowNs() < endNs);
        long[] sorted = timed.toArray();
        Arrays.sort(sorted);
        return sorted[(sorted.length - 1) / 2];
    }

    private void timeSlice(boolean dropsFirst) throws Refused {
        double endNs = clock.nowNs() + gate.sliceS * SECOND_NS;
        if (dropsFirst) {
            firstNs.add(inference.invoke());
        }
        int runs = 0;
        long sumNs = 0;
        do {
            long durationNs = inference.invoke();
            samples.add(durationNs);
            sumNs += durationNs;
            runs++;
            progress.ran(samples.size());
        } while (clock.nowNs() < endNs);
        sliceRuns.add(runs);
        sliceNs.add(sumNs);
    }

    private boolean hasEnded() {
        if (samples.size() < bounds.fewRuns) {
            return elapsedNs >= bounds.fewRunsMaxS * SECOND_NS;
        }
        if (elapsedNs >= bounds.maxS * SECOND_NS) {
            return true;
        }
        double mostNs = fastNs() * (1 + gate.limit);
        int slices = 0;
        int runs = 0;
        long sumNs = 0;
        for (int slice = 0; slice < sliceRuns.size(); slice++) {
            if (canariesNs.get(slice) <= mostNs && canariesNs.get(slice + 1) <= mostNs) {
                slices++;
                runs += sliceRuns.get(slice);
                sumNs += sliceNs.get(slice);
            }
        }
        boolean enough = runs >= bounds.minRuns && sumNs >= bounds.minS * SECOND_NS;
        boolean hopeless =
                elapsedNs >= Math.max(bounds.maxS / 4, PATIENCE_S) * SECOND_NS && slices < HOPEFUL_SLICES;
        return hopeless || (enough && slices >= LEAST_SLICES);
    }

    /** Returns the known fast speed, or this run's own where that is faster or none is known. */
    private long fastNs() {
        List<Long> all = new ArrayList<>(learningNs);
        all.addAll(canariesNs);
        long[] sorted = new long[all.size()];
        for (int index = 0; index < sorted.length; index++) {
            sorted[index] = all.get(index);
        }
        Arrays.sort(sorted);
        long ownNs = sorted[Math.min(Math.max(SUPPORT - 1, sorted.length / QUANTILE), sorted.length - 1)];
        return gate.fastNs == 0 ? ownNs : Math.min(ownNs, gate.fastNs);
    }
}
