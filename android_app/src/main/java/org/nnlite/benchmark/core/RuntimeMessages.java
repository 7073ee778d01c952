package org.nnlite.benchmark.core;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What the runtime kept of its messages, in the text of an exception of {@code Interpreter.resizeInput}. */
public final class RuntimeMessages {
    /** Of tensorflow/lite/java/src/main/native/nativeinterpreterwrapper_jni.cc, 2.16.1. */
    private static final Pattern FAILED =
            Pattern.compile("Internal error: Failed to resize \\d+-th input: (.*)", Pattern.DOTALL);

    /** The message of the attempt itself, which comes last and may be cut. */
    private static final String ATTEMPT = "Attempting to resize dimension";

    private RuntimeMessages() {}

    /** Returns the messages before the attempt to resize; null: the text is another one. */
    public static String ofInitialization(String text) {
        Matcher failed = FAILED.matcher(text == null ? "" : text);
        if (!failed.matches()) {
            return null;
        }
        String all = failed.group(1);
        int attempt = all.lastIndexOf(ATTEMPT);
        return (attempt < 0 ? all : all.substring(0, attempt)).trim();
    }
}
