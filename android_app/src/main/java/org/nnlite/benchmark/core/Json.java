package org.nnlite.benchmark.core;

import java.util.Iterator;
import java.util.Map;

/** Writes maps, lists, text, numbers and booleans as one line of ASCII JSON, which no shell changes. */
public final class Json {
    private Json() {}

    /**
     * Returns the value as JSON.
     *
     * @throws IllegalArgumentException it holds an object of another type, or a number that is not finite
     */
    public static String write(Object value) {
        StringBuilder text = new StringBuilder();
        append(text, value);
        return text.toString();
    }

    private static void append(StringBuilder text, Object value) {
        if (value == null || value instanceof Boolean || value instanceof Long || value instanceof Integer) {
            text.append(value);
        } else if (value instanceof Double) {
            appendNumber(text, (Double) value);
        } else if (value instanceof String) {
            appendText(text, (String) value);
        } else if (value instanceof Map) {
            appendObject(text, (Map<?, ?>) value);
        } else if (value instanceof Iterable) {
            appendArray(text, (Iterable<?>) value);
        } else {
            throw new IllegalArgumentException("JSON has nothing for " + value.getClass());
        }
    }

    private static void appendNumber(StringBuilder text, double value) {
        if (Double.isNaN(value) || Double.isInfinite(value)) {
            throw new IllegalArgumentException("JSON has no " + value);
        }
        text.append(value);
    }

    private static void appendObject(StringBuilder text, Map<?, ?> entries) {
        text.append('{');
        String separator = "";
        for (Map.Entry<?, ?> entry : entries.entrySet()) {
            text.append(separator);
            appendText(text, (String) entry.getKey());
            text.append(':');
            append(text, entry.getValue());
            separator = ",";
        }
        text.append('}');
    }

    private static void appendArray(StringBuilder text, Iterable<?> values) {
        text.append('[');
        for (Iterator<?> rest = values.iterator(); rest.hasNext(); ) {
            append(text, rest.next());
            if (rest.hasNext()) {
                text.append(',');
            }
        }
        text.append(']');
    }

    private static void appendText(StringBuilder text, String value) {
        text.append('"');
        for (int index = 0; index < value.length(); index++) {
            char character = value.charAt(index);
            if (character == '"' || character == '\\') {
                text.append('\\').append(character);
            } else if (character >= ' ' && character < 0x7f) {
                text.append(character);
            } else {
                text.append(String.format("\\u%04x", (int) character));
            }
        }
        text.append('"');
    }
}
