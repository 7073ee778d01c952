package org.nnlite.benchmark.core;

import java.util.List;

/** Access to the state of the process and the device. */
public interface Surroundings {
    DeviceState state();

    /** Returns the cores that the calling thread may use. */
    List<Integer> cores();

    /**
     * Binds the calling thread to cores, and with it the threads that it starts from now on; returns why that is not
     * possible, or null.
     */
    String bind(List<Integer> cores);

    /** Returns the core that the calling thread runs on. */
    Long core();

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

    /** Returns what the battery says of itself now. */
    BatterySeries.Reading battery();

    /** Returns whether the device can hold a performance level that it sustains, for a window that asks. */
    boolean sustainsPerformance();

    /** Waits until the device is not throttled and its thermal headroom is below a limit, at most so long. */
    void cool(double maxHeadroom, double maxS) throws InterruptedException;

    /** Adds what the device says of its temperature to a series until the watch is closed. */
    Watch watchThermal(ThermalSeries series);

    /** Something that goes on until it is closed. */
    interface Watch extends AutoCloseable {
        @Override
        void close();
    }
}
