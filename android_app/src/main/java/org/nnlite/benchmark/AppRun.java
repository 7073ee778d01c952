package org.nnlite.benchmark;

import android.content.Context;
import android.os.Build;

import org.nnlite.benchmark.core.Arguments;
import org.nnlite.benchmark.core.BadArguments;
import org.nnlite.benchmark.core.Benchmark;
import org.nnlite.benchmark.core.Delivery;
import org.nnlite.benchmark.core.Report;
import org.nnlite.benchmark.core.RunFile;
import org.nnlite.benchmark.core.RunState;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The single run of this process, shared by the instrumentation and the activity. */
final class AppRun {
    /** State of the run, for the screen; a process has one run. */
    static final RunState STATE = new RunState();

    /** Whether the window asks for a performance level that the device sustains. */
    static volatile boolean sustained;

    private static final String REPORT_FILE = "report.json";
    /** Until the host is asked to start the activity, and from then on. */
    private static final long FOCUS_TIMEOUT_MS = 5_000;

    private final Context context;
    private final Arguments arguments;

    /**
     * @throws BadArguments the run cannot begin
     */
    AppRun(Context context, Map<String, String> values) throws BadArguments {
        this.context = context;
        this.arguments = Arguments.of(values);
        sustained = arguments.sustained;
        arguments.requireFiles();
    }

    /**
     * Waits for the window to get the focus; without it a run is measured too, and its report says so.
     *
     * @param missing called if it does not come; something else may start it then
     */
    void awaitWindow(Runnable missing) {
        try {
            if (!STATE.awaitFocus(FOCUS_TIMEOUT_MS)) {
                missing.run();
                STATE.awaitFocus(FOCUS_TIMEOUT_MS);
            }
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    /** Measures on the calling thread. */
    Report measure(Benchmark.Listener listener) {
        TfliteEngine engine = new TfliteEngine(arguments, context.getCacheDir());
        return new Benchmark(
                        arguments, engine, new AndroidSurroundings(context), STATE, System::nanoTime, listener)
                .run();
    }

    /** Writes the report's files where the shell can read them, or sends them; the report names their folder. */
    void deliver(Report report, Delivery.Pieces pieces) {
        List<RunFile> files = report.files();
        File folder = folder();
        if (folder != null && arguments.transfer == Arguments.Transfer.AUTO) {
            try {
                Delivery.write(files, folder);
                report.folder = folder.getPath();
                return;
            } catch (IOException error) {
                OwnLog.writeError("files are sent as status: " + error.getMessage());
            }
        }
        Delivery.send(files, pieces);
    }

    /** Writes the report and its files, for people; returns the report's path. */
    String deliverByHand(Report report) throws IOException {
        File folder = folder();
        if (folder == null) {
            throw new IOException("There is no external storage to write to");
        }
        report.folder = folder.getPath();
        List<RunFile> files = new ArrayList<>(report.files());
        files.add(new RunFile(REPORT_FILE, report.toJson().getBytes(StandardCharsets.US_ASCII)));
        Delivery.write(files, folder);
        return new File(folder, REPORT_FILE).getPath();
    }

    /** The folders of androidx.benchmark: the shell may read the first from API 29 on, the second below. */
    private File folder() {
        File place = Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q ? mediaFolder() : context.getExternalCacheDir();
        return place == null ? null : new File(place, arguments.run);
    }

    @SuppressWarnings("deprecation") // The shell cannot read its replacement, MediaStore.
    private File mediaFolder() {
        File[] places = context.getExternalMediaDirs();
        return places.length == 0 ? null : places[0];
    }
}
