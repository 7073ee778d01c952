package org.nnlite.benchmark;

import java.util.List;

/** Binds threads to cores: a system call that Java does not have, {@code src/main/assembly}. */
final class Affinity {
    private static final int MOST_CORES = Long.SIZE;

    private Affinity() {}

    /** Binds the calling thread, and those that it starts from now on; returns why that is not possible, or null. */
    static String bind(List<Integer> cores) {
        long mask = 0;
        for (int core : cores) {
            if (core >= MOST_CORES) {
                return "core " + core + " is beyond the " + MOST_CORES + " of the app's mask";
            }
            mask |= 1L << core;
        }
        try {
            System.loadLibrary("nnlite_affinity");
            int result = set(mask);
            return result == 0 ? null : "sched_setaffinity of cores " + cores + " fails with errno " + -result;
        } catch (LinkageError error) {
            return error.toString();
        }
    }

    /** Returns 0 or a negative errno. */
    private static native int set(long mask);
}
