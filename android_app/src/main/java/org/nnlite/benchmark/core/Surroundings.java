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

    /** Returns the resident memory that is neither of a file nor of Java, and that of the artifact's mapped file. */
    Long modelKb(String model);

    /** Resets VmHWM to the memory in use now, if the kernel allows that. */
    void forgetPeak();

    /** Returns the process's proportional set size; slow. */
    Long pssKb();
}
