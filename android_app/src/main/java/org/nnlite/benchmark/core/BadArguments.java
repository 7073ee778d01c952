package org.nnlite.benchmark.core;

/** The run cannot begin: an argument is missing or invalid, or a file cannot be read. */
public final class BadArguments extends Exception {
    private static final long serialVersionUID = 1;

    public BadArguments(String message) {
        super(message);
    }
}
