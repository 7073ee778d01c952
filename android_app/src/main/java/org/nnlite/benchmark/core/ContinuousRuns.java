package org.nnlite.benchmark.core;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Continuous inference: runs without pauses for so many seconds, and the latency over time in bins of a second. The
 * same rules as the host's, {@code workers/nnlite_benchmark/protocol/continuous.py}.
 */
final class ContinuousRuns {
    private static final long BIN_NS = 1_000_000_000L;

    private final List<Long> endNs = new ArrayList<>();
    private final List<Integer> runs = new ArrayList<>();
    private final List<Long> medianNs = new ArrayList<>();

    /**
     * Runs for so many seconds, at least once; returns the time from the first run's start to the last one's end.
     *
     * @param betweenBins called after each bin but the last
     */
    long run(
            Protocol.Inference inference, Protocol.Progress progress, Runnable betweenBins, Clock clock, double seconds)
            throws Refused {
        long beginNs = clock.nowNs();
        long binNs = beginNs;
        Samples bin = new Samples();
        int all = 0;
        while (true) {
            bin.add(inference.invoke());
            progress.ran(++all);
            long nowNs = clock.nowNs();
            boolean ended = nowNs - beginNs >= seconds * BIN_NS;
            if (!ended && nowNs - binNs < BIN_NS) {
                continue;
            }
            add(nowNs - beginNs, bin.toArray());
            if (ended) {
                return nowNs - beginNs;
            }
            betweenBins.run();
            bin = new Samples();
            binNs = nowNs;
        }
    }

    private void add(long atNs, long[] durationsNs) {
        Arrays.sort(durationsNs);
        endNs.add(atNs);
        runs.add(durationsNs.length);
        medianNs.add(durationsNs[(durationsNs.length - 1) / 2]);
    }

    /** Returns the part {@code Bins} of a report. */
    Map<String, Object> toJson() {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("end_ns", endNs);
        json.put("runs", runs);
        json.put("median_ns", medianNs);
        return json;
    }
}
