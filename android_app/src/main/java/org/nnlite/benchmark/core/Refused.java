package org.nnlite.benchmark.core;

/** The runtime or the delegate does not run the artifact: a result, which goes into the report. */
public final class Refused extends Exception {
    private static final long serialVersionUID = 1;

    /** Who said no. */
    public enum By {
        /** The runtime or the delegate, with an error of its own. */
        RUNTIME("runtime"),
        /** The delegate took no node of the graph. */
        NOT_DELEGATED("not_delegated");

        /** As reports name it. */
        public final String word;

        By(String word) {
            this.word = word;
        }
    }

    /** Who said no. */
    public final By by;

    public Refused(By by, String message) {
        super(message);
        this.by = by;
    }

    /** The runtime's own error; {@code cause} speaks for it. */
    public Refused(Throwable cause) {
        super(cause.getMessage() == null ? cause.getClass().getSimpleName() : cause.getMessage(), cause);
        this.by = By.RUNTIME;
    }
}
