package org.nnlite.benchmark;

import android.os.Process;
import android.util.Log;

import org.nnlite.benchmark.core.Backend;
import org.nnlite.benchmark.core.DelegationLog;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Reads the log of this process, for which an app needs no permission. */
final class OwnLog {
    private static final String TAG = "nnlite";

    private static final long LOGCAT_TIMEOUT_MS = 2_000;
    private static final int MOST_TRIES = 5;

    private OwnLog() {}

    static void write(String line) {
        Log.i(TAG, line);
    }

    static void writeError(String line) {
        Log.e(TAG, line);
    }

    static void writeError(String line, Throwable error) {
        Log.e(TAG, line, error);
    }

    /** Reads the log since the process began; repeats until it includes the end of the initialization. */
    static DelegationLog read(String run, Backend backend, File scratch) {
        DelegationLog log = DelegationLog.read(Collections.<String>emptyList(), run, backend);
        for (int tries = 0; tries < MOST_TRIES && !log.isEnded(); tries++) {
            log = DelegationLog.read(logcat(scratch), run, backend);
        }
        return log;
    }

    /** Uses a file, so that a hanging logcat cannot delay this beyond its timeout. */
    private static List<String> logcat(File scratch) {
        File file = new File(scratch, "own.log");
        try {
            java.lang.Process logcat =
                    new ProcessBuilder(
                                    Arrays.asList(
                                            "logcat", "-d", "-b", "main", "-v", "brief", "--pid=" + Process.myPid()))
                            .redirectErrorStream(true)
                            .redirectOutput(file)
                            .start();
            if (!logcat.waitFor(LOGCAT_TIMEOUT_MS, TimeUnit.MILLISECONDS)) {
                logcat.destroyForcibly();
            }
            return Arrays.asList(new String(Files.readAllBytes(file.toPath()), StandardCharsets.UTF_8).split("\n"));
        } catch (IOException error) {
            return Collections.emptyList();
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
            return Collections.emptyList();
        } finally {
            file.delete();
        }
    }
}
