package org.nnlite.benchmark.core;

import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;

/** Counts on which cores the timed runs ran: the core of the measuring thread at the end of each slice of 40 ms. */
final class CoreCount implements Protocol.Progress {
    private static final long SLICE_NS = 40_000_000L;

    private final Clock clock;
    private final Supplier<Long> core;
    private final Protocol.Progress next;
    private final Map<String, Integer> slices = new TreeMap<>();
    private long sliceNs;

    /**
     * @param core the core that the calling thread runs on; null: unknown
     * @param next told of each run too
     */
    CoreCount(Clock clock, Supplier<Long> core, Protocol.Progress next) {
        this.clock = clock;
        this.core = core;
        this.next = next;
        this.sliceNs = clock.nowNs();
    }

    @Override
    public void ran(int runs) {
        next.ran(runs);
        long nowNs = clock.nowNs();
        if (nowNs - sliceNs < SLICE_NS) {
            return;
        }
        Long number = core.get();
        if (number != null) {
            slices.merge(number.toString(), 1, Integer::sum);
        }
        sliceNs = clock.nowNs();
    }

    /** Returns the number of slices by core; null: unknown, or no run was as long. */
    Map<String, Integer> toJson() {
        return slices.isEmpty() ? null : slices;
    }
}
