package android.util;

import java.io.FileWriter;
import java.io.IOException;

/** Writes where the double of logcat reads. */
public final class Log {
    private Log() {}

    public static int i(String tag, String line) {
        return write("I/" + tag, line);
    }

    public static int e(String tag, String line) {
        return write("E/" + tag, line);
    }

    public static int e(String tag, String line, Throwable error) {
        return write("E/" + tag, line + ": " + error);
    }

    private static int write(String tag, String line) {
        try (FileWriter file = new FileWriter(System.getProperty("double.log"), true)) {
            file.write(tag + "( 4711): " + line + "\n");
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
        return 0;
    }
}
