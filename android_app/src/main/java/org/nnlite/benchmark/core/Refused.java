package org.nnlite.benchmark.core;

/** The runtime or the delegate rejected the artifact: a result, which is part of the report. */
public final class Refused extends Exception {
    private static final long serialVersionUID = 1;

    /** What rejected the artifact. */
    public enum By {
        /** The runtime or the delegate, with an error. */
        RUNTIME("runtime"),
        /** The delegate took no node of the graph. */
        NOT_DELEGATED("not_delegated");

        /** Its name in reports. */
        public final String word;

        By(String word) {
            this.word = word;
        }
    }

    /** What rejected the artifact. */
    public final By by;

    public Refused(By by, String message) {
        super(message);
        this.by = by;
    }

    /** The runtime's error; {@code cause} has its message. */
    public Refused(Throwable cause) {
        super(cause.getMessage() == null ? cause.getClass().getSimpleName() : cause.getMessage(), cause);
        this.by = By.RUNTIME;
    }
}
