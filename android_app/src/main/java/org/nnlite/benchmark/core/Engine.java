package org.nnlite.benchmark.core;

import java.util.List;

/** The runtime with one artifact on one backend. Every method is called on the same thread. */
public interface Engine {
    /** Loads the artifact and makes it ready to run. */
    void open() throws Refused;

    /** Copies the input files in. */
    void fill() throws Refused;

    /** Runs once; returns the inference's own nanoseconds, without copies. */
    long invoke() throws Refused;

    /** Returns how much of the graph the delegate took; null where nothing tells. */
    Delegation delegation();

    /** Returns NNAPI's last error code; null where NNAPI was not asked. */
    Integer nnapiErrno();

    /** Returns the outputs of the last run. */
    List<Output> outputs() throws Refused;

    /** Returns the runtime's version. */
    String version();

    /** Frees everything; may be called after a refusal. */
    void close();
}
