package org.nnlite.benchmark;

import android.app.Activity;
import android.os.Build;
import android.os.Bundle;
import android.os.Handler;
import android.os.Looper;
import android.os.Process;
import android.view.Gravity;
import android.view.WindowManager;
import android.widget.TextView;

import org.nnlite.benchmark.core.BadArguments;

import java.io.IOException;
import java.util.Map;

/**
 * Stays on screen during a measurement, because only a foreground app is scheduled as one, and shows the run's state.
 * Started by hand with a run's arguments as extras, it runs them itself and ends the process.
 */
public final class BenchmarkActivity extends Activity {
    /** Drawing uses a core: once a second is enough. */
    private static final long REFRESH_MS = 1_000;

    private final Handler handler = new Handler(Looper.getMainLooper());
    private final Runnable refresh = this::refresh;
    private TextView text;
    private boolean byHand;

    @Override
    protected void onCreate(Bundle saved) {
        super.onCreate(saved);
        getWindow().addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON);
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.O_MR1) {
            showAboveLockScreen();
        }
        text = new TextView(this);
        text.setGravity(Gravity.CENTER);
        text.setTextSize(24);
        setContentView(text);
        Bundle extras = getIntent().getExtras();
        byHand = saved == null && extras != null && !extras.isEmpty();
        if (byHand) {
            Map<String, String> values = BenchmarkInstrumentation.texts(extras);
            new Thread(() -> runByHand(values), "benchmark").start();
        }
    }

    @Override
    protected void onStart() {
        super.onStart();
        refresh();
    }

    @Override
    protected void onStop() {
        handler.removeCallbacks(refresh);
        super.onStop();
    }

    @Override
    protected void onDestroy() {
        super.onDestroy();
        if (byHand && isFinishing()) {
            Process.killProcess(Process.myPid());
        }
    }

    @Override
    public void onWindowFocusChanged(boolean hasFocus) {
        super.onWindowFocusChanged(hasFocus);
        getWindow().setSustainedPerformanceMode(AppRun.sustained);
        AppRun.STATE.focus(hasFocus);
    }

    private void refresh() {
        text.setText(AppRun.STATE.text());
        handler.postDelayed(refresh, REFRESH_MS);
    }

    private void runByHand(Map<String, String> values) {
        try {
            AppRun run = new AppRun(getApplicationContext(), values);
            run.awaitWindow(() -> OwnLog.writeError("the window is not in front"));
            String path = run.deliverByHand(run.measure((stage, firstInferenceNs) -> {}));
            OwnLog.write("report " + path);
        } catch (BadArguments | IOException error) {
            OwnLog.writeError("error " + error.getMessage());
        } catch (Throwable error) {
            OwnLog.writeError("error " + error, error);
        } finally {
            runOnUiThread(this::finishAndRemoveTask);
        }
    }

    /** Equivalent of the manifest's attributes, which exist from API 27 on. */
    @SuppressWarnings("deprecation")
    private void showAboveLockScreen() {
        getWindow()
                .addFlags(
                        WindowManager.LayoutParams.FLAG_SHOW_WHEN_LOCKED
                                | WindowManager.LayoutParams.FLAG_TURN_SCREEN_ON);
    }
}
