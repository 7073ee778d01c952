package org.nnlite.benchmark.core;

import java.util.LinkedHashMap;
import java.util.Map;

/** What the kernel had counted of the process at one moment, all threads together; null: unknown. */
public final class Counters {
    private static final long LEAST_WINDOW_NS = 500_000_000L;
    private static final double TICK_NS = 1e7;

    public Long migrations;
    public Long voluntarySwitches;
    public Long involuntarySwitches;
    public Long minorFaults;
    public Long majorFaults;

    /** CPU time of the process, ticks of 10 ms: user's and system's. */
    public Long userTicks;

    public Long systemTicks;

    /** Now, of the fastest core that the process may use. */
    public Long frequencyKhz;

    /** Adds the counters of one thread: its files status and sched in /proc. */
    public void addThread(String status, String sched) {
        voluntarySwitches = sum(voluntarySwitches, ProcText.counter(status, "voluntary_ctxt_switches"));
        involuntarySwitches = sum(involuntarySwitches, ProcText.counter(status, "nonvoluntary_ctxt_switches"));
        migrations = sum(migrations, ProcText.counter(sched, "se\\.nr_migrations"));
    }

    /** Returns the part {@code Disturbance} of a report: what was counted since {@code before}. */
    Map<String, Object> since(Counters before, long windowNs, int cores) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("window_ns", windowNs);
        json.put("cores", cores);
        json.put("own_cores", ownCores(before, windowNs));
        boolean known = frequencyKhz != null && before.frequencyKhz != null;
        json.put("frequency_min_khz", known ? Long.valueOf(Math.min(before.frequencyKhz, frequencyKhz)) : null);
        json.put("frequency_max_khz", known ? Long.valueOf(Math.max(before.frequencyKhz, frequencyKhz)) : null);
        json.put("migrations", difference(before.migrations, migrations));
        json.put("voluntary_switches", difference(before.voluntarySwitches, voluntarySwitches));
        json.put("involuntary_switches", difference(before.involuntarySwitches, involuntarySwitches));
        json.put("minor_faults", difference(before.minorFaults, minorFaults));
        json.put("major_faults", difference(before.majorFaults, majorFaults));
        return json;
    }

    /** Returns the mean number of cores that the process used; null in a window that is short for ticks. */
    private Double ownCores(Counters before, long windowNs) {
        Long user = difference(before.userTicks, userTicks);
        Long system = difference(before.systemTicks, systemTicks);
        boolean known = user != null && system != null && windowNs >= LEAST_WINDOW_NS;
        return known ? Double.valueOf((user + system) * TICK_NS / windowNs) : null;
    }

    private static Long sum(Long one, Long other) {
        return one == null ? other : other == null ? one : Long.valueOf(one + other);
    }

    /** A thread that ended takes its counters with it: then the difference is too small, never negative. */
    private static Long difference(Long before, Long after) {
        return before == null || after == null ? null : Long.valueOf(Math.max(after - before, 0));
    }
}
