package org.nnlite.benchmark.core;

/** The app cannot begin: an argument is missing or makes no sense, or a file cannot be read. */
public final class BadArguments extends Exception {
    private static final long serialVersionUID = 1;

    public BadArguments(String message) {
        super(message);
    }
}
