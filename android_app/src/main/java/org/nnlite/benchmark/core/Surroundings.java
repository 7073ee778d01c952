package org.nnlite.benchmark.core;

import java.util.List;

/** The process and the device around a run. */
public interface Surroundings {
    DeviceState state();

    /** Returns the cores that the process may use. */
    List<Integer> cores();

    /** Returns VmRSS. */
    Long rssKb();

    /** Returns VmHWM. */
    Long peakRssKb();

    /** Lets VmHWM start again from the memory in use now, where the kernel allows that. */
    void forgetPeak();

    /** Returns the process's proportional set size; takes a while. */
    Long pssKb();
}
