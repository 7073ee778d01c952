package org.nnlite.benchmark.core;

import java.util.List;

/** A runtime with one artifact on one backend; every method is called on the same thread. */
public interface Engine {
    /** Loads the artifact and initializes the runtime. */
    void open() throws Refused;

    /** Copies the input files in. */
    void fill() throws Refused;

    /** Runs once; returns the nanoseconds of the inference, without copies. */
    long invoke() throws Refused;

    /** Loads the gate's canary, on the CPU as the artifact runs there; returns what runs it once. */
    Protocol.Inference canary(String model) throws Refused;

    /** Returns the delegated nodes; null if unknown. */
    Delegation delegation();

    /**
     * Returns what the runtime and the delegate wrote during the initialization, as far as it is kept; empty: nothing;
     * null: unknown.
     */
    String messages();

    /** Returns NNAPI's last error code; null if NNAPI was not used. */
    Integer nnapiErrno();

    /** Returns the outputs of the last run. */
    List<Output> outputs() throws Refused;

    /** Returns the runtime's version. */
    String version();
}
