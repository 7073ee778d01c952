package org.nnlite.benchmark;

import android.app.Activity;
import android.app.Instrumentation;
import android.content.Context;
import android.content.Intent;
import android.os.Bundle;
import android.os.Process;

import org.nnlite.benchmark.core.BadArguments;
import org.nnlite.benchmark.core.Report;
import org.nnlite.benchmark.core.Stage;

import java.util.HashMap;
import java.util.Map;

/**
 * A run by {@code am instrument -w -r}: status messages at each stage, then the report as the result. The host
 * can distinguish its end, a crash and a hang without polling.
 */
public final class BenchmarkInstrumentation extends Instrumentation {
    private static final int STATUS_STAGE = 1;
    private static final int STATUS_PIECE = 2;
    private static final int STATUS_WINDOW_MISSING = 3;

    private Bundle extras;

    @Override
    public void onCreate(Bundle extras) {
        super.onCreate(extras);
        this.extras = extras;
        start();
    }

    /** Runs on a separate thread: the main thread stays free for the window. */
    @Override
    public void onStart() {
        super.onStart();
        Bundle result = new Bundle();
        try {
            AppRun run = new AppRun(getTargetContext(), texts(extras));
            startActivity();
            run.awaitWindow(() -> sendStatus(STATUS_WINDOW_MISSING, new Bundle()));
            Report report = run.measure(this::sendStage);
            run.deliver(report, this::sendPiece);
            result.putString("report", report.toJson());
            finish(Activity.RESULT_OK, result);
        } catch (BadArguments error) {
            result.putString("error", error.getMessage());
            finish(Activity.RESULT_CANCELED, result);
        } catch (Throwable error) {
            OwnLog.writeError("the app failed", error);
            result.putString("error", error.toString());
            finish(Activity.RESULT_CANCELED, result);
        }
    }

    /** Some phones block an activity that is not started from the screen; the host then starts it by the shell. */
    private void startActivity() {
        Context context = getTargetContext();
        try {
            context.startActivity(
                    new Intent(context, BenchmarkActivity.class).addFlags(Intent.FLAG_ACTIVITY_NEW_TASK));
        } catch (RuntimeException error) {
            OwnLog.writeError("the activity is not started", error);
        }
    }

    /** Returns the texts among the extras. */
    static Map<String, String> texts(Bundle extras) {
        Map<String, String> texts = new HashMap<>();
        for (String key : extras.keySet()) {
            String text = extras.getString(key);
            if (text != null) {
                texts.put(key, text);
            }
        }
        return texts;
    }

    private void sendStage(Stage stage, Long firstInferenceNs) {
        Bundle status = new Bundle();
        status.putString("stage", stage.word);
        status.putString("pid", String.valueOf(Process.myPid()));
        if (firstInferenceNs != null) {
            status.putString("first_inference_ns", String.valueOf(firstInferenceNs));
        }
        sendStatus(STATUS_STAGE, status);
    }

    private void sendPiece(String file, int piece, int pieces, String data) {
        Bundle status = new Bundle();
        status.putString("file", file);
        status.putString("piece", String.valueOf(piece));
        status.putString("pieces", String.valueOf(pieces));
        status.putString("data", data);
        sendStatus(STATUS_PIECE, status);
    }
}
