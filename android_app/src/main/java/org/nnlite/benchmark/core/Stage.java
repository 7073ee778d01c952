package org.nnlite.benchmark.core;

/** Where in a run the app is. */
public enum Stage {
    INITIALIZE("initialize"),
    WARM_UP("warm-up"),
    RUN("run");

    /** As reports and status messages name it. */
    public final String word;

    Stage(String word) {
        this.word = word;
    }
}
