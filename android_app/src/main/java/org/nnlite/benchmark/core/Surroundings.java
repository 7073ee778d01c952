package org.nnlite.benchmark.core;

import java.util.List;

/** Access to the state of the process and the device. */
public interface Surroundings {
    DeviceState state();

    /** Returns the cores that the process may use. */
    List<Integer> cores();

    /** Returns what the kernel has counted of the process so far. */
    Counters counters();

    /** Returns VmRSS. */
    Long rssKb();

    /** Returns VmHWM. */
    Long peakRssKb();

    /** Resets VmHWM to the memory in use now, if the kernel allows that. */
    void forgetPeak();

    /** Returns the process's proportional set size; slow. */
    Long pssKb();
}
