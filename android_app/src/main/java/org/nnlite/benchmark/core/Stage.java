package org.nnlite.benchmark.core;

/** Stage of a run. */
public enum Stage {
    INITIALIZE("initialize"),
    WARM_UP("warm-up"),
    RUN("run");

    /** Its name in reports and status messages. */
    public final String word;

    Stage(String word) {
        this.word = word;
    }
}
