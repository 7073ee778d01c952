package org.nnlite.host;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.time.Instant;

/**
 * Clocks and files of the virtual device that a run is on. In a process that serves virtual devices, calls of the
 * JDK's methods of the same names in three classes lead here ({@code tools/apk/virtual.py} has the list).
 *
 * <p>Not loaded by Robolectric's class loader, so that the app and its runtime see the same device.
 */
public final class VirtualDevice {
    /** Differences between successive readings of the clock, in percent of the usual one. */
    private static final int[] SPREAD = {100, 101, 99, 100, 102, 100, 98};

    private static long nowNs;
    private static long stepNs = 1_000_000;
    private static int readings;
    private static long offsetS;
    private static Path root = Paths.get("/");

    private VirtualDevice() {}

    /**
     * Begins a run.
     *
     * @param stepNs time between two readings of the clock, so that a busy machine changes no measurement
     * @param offsetS difference of the device's wall clock
     * @param root folder of files that the device has instead of this machine's
     */
    public static synchronized void begin(long stepNs, long offsetS, String root) {
        VirtualDevice.stepNs = stepNs;
        VirtualDevice.offsetS = offsetS;
        VirtualDevice.root = Paths.get(root);
        readings = 0;
    }

    /**
     * Replaces {@link System#nanoTime}: each reading by the measuring thread advances the clock. Those of others, such
     * as the one that reads temperatures once a second, would lengthen more runs the busier this machine is.
     */
    public static synchronized long nanoTime() {
        if (isMeasuring(Thread.currentThread().getName())) {
            nowNs += stepNs * SPREAD[readings++ % SPREAD.length] / 100;
        }
        return nowNs;
    }

    /** By the names of the framework's thread of an instrumentation, and of the activity's for runs by hand. */
    private static boolean isMeasuring(String thread) {
        return thread.startsWith("Instr: ") || thread.equals("benchmark");
    }

    /** Replaces {@link Instant#now()}. */
    public static synchronized Instant now() {
        return Instant.now().plusSeconds(offsetS);
    }

    /** Replaces {@link Paths#get}: the device's own file, where it has one. */
    public static synchronized Path get(String first, String... more) {
        Path own = root.resolve(first.substring(1));
        return Files.exists(own) ? own : Paths.get(first, more);
    }
}
