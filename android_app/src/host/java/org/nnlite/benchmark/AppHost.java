package org.nnlite.benchmark;

import static org.robolectric.Shadows.shadowOf;

import android.app.Activity;
import android.app.Application;
import android.app.Instrumentation;
import android.content.Intent;
import android.os.BatteryManager;
import android.os.Build;
import android.os.Bundle;
import android.os.Environment;
import android.os.Looper;
import android.os.PowerManager;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;

import org.junit.Test;
import org.junit.runner.JUnitCore;
import org.junit.runner.Request;
import org.junit.runner.Result;
import org.junit.runner.RunWith;
import org.junit.runner.notification.Failure;
import org.robolectric.Robolectric;
import org.robolectric.RobolectricTestRunner;
import org.robolectric.RuntimeEnvironment;
import org.robolectric.android.controller.ActivityController;
import org.robolectric.annotation.Config;
import org.robolectric.shadows.ShadowEnvironment;
import org.robolectric.shadows.ShadowLog;
import org.robolectric.shadows.ShadowPowerManager;
import org.robolectric.shadows.ShadowProcess;

import java.io.BufferedReader;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * Runs the app's own instrumentation and activity on the framework of one Android version, with the APK's TensorFlow
 * Lite. Reads one request per line, JSON, and prints what {@code am instrument -w -r} prints, then a line {@code DONE}.
 *
 * <p>A request has {@code arguments} (texts) and what the device does: {@code focus} ({@code gained}, {@code never},
 * {@code lost}, {@code asked}: only after the app has asked for it), {@code storage} (false: none), {@code
 * thermal_status}, {@code thermal_status_during} (from the timed runs on), {@code headroom}, {@code power_saver}, {@code
 * by_hand}.
 */
@RunWith(RobolectricTestRunner.class)
@Config(sdk = Config.ALL_SDKS, shadows = {FinishesItself.class, WarmPower.class})
public final class AppHost {
    /** Not System.out, which libraries print to. */
    private static final PrintStream OUT = new PrintStream(new FileOutputStream(FileDescriptor.out));

    private static final long POLL_MS = 2;

    private final Application context = RuntimeEnvironment.getApplication();
    private ActivityController<BenchmarkActivity> activity;

    /** Serves standard input until it ends; {@code robolectric.enabledSdks} selects the version. */
    public static void main(String[] words) {
        System.setOut(System.err);
        Result result = new JUnitCore().run(Request.method(AppHost.class, "serve"));
        for (Failure failure : result.getFailures()) {
            System.err.println(failure.getTrace());
        }
        System.exit(result.wasSuccessful() && result.getRunCount() == 1 ? 0 : 1);
    }

    @Test
    public void serve() throws Exception {
        ShadowProcess.setPid(Integer.parseInt(new File("/proc/self").getCanonicalFile().getName()));
        ShadowLog.stream = new PrintStream(new FileOutputStream(log(), true), true, "UTF-8");
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        // The first activity of a process takes long: the app would wait for its window in vain.
        Robolectric.buildActivity(BenchmarkActivity.class).setup().pause().stop().destroy();
        String line;
        while ((line = requests.readLine()) != null) {
            run(JsonParser.parseString(line).getAsJsonObject());
            OUT.println("DONE");
            OUT.flush();
        }
    }

    private void run(JsonObject request) throws Exception {
        // Android has a new process for each run, with a log of its own.
        new FileOutputStream(log()).close();
        AppRun.STATE.focus(false);
        activity = null;
        be(request);
        if (request.has("by_hand")) {
            byHand(extras(request));
        } else {
            instrument(request, extras(request));
        }
        if (activity != null) {
            activity.pause().stop().destroy();
        }
    }

    /** Makes the device as requested. */
    @SuppressWarnings("deprecation") // Only sticky broadcasts tell of a battery.
    private void be(JsonObject request) {
        boolean storage = !request.has("storage") || request.get("storage").getAsBoolean();
        ShadowEnvironment.reset();
        ShadowEnvironment.setExternalStorageState(storage ? Environment.MEDIA_MOUNTED : Environment.MEDIA_REMOVED);
        if (storage) {
            ShadowEnvironment.addExternalDir("storage");
        }
        context.sendStickyBroadcast(
                new Intent(Intent.ACTION_BATTERY_CHANGED)
                        .putExtra(BatteryManager.EXTRA_LEVEL, 43)
                        .putExtra(BatteryManager.EXTRA_SCALE, 50)
                        .putExtra(BatteryManager.EXTRA_STATUS, BatteryManager.BATTERY_STATUS_FULL)
                        .putExtra(BatteryManager.EXTRA_TEMPERATURE, 315));
        ShadowPowerManager power = shadowOf(context.getSystemService(PowerManager.class));
        power.setIsPowerSaveMode(request.has("power_saver") && request.get("power_saver").getAsBoolean());
        WarmPower.headroom = request.has("headroom") ? request.get("headroom").getAsFloat() : Float.NaN;
        beWarm(request, "thermal_status");
    }

    private void beWarm(JsonObject request, String name) {
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) {
            shadowOf(context.getSystemService(PowerManager.class))
                    .setCurrentThermalStatus(request.has(name) ? request.get(name).getAsInt() : 0);
        }
    }

    private void instrument(JsonObject request, Bundle extras) throws Exception {
        String focus = request.get("focus").getAsString();
        boolean warms = request.has("thermal_status_during");
        AmInstrument am = new AmInstrument(OUT);
        Instrumentation instrumentation = new BenchmarkInstrumentation();
        am.attach(instrumentation, context);
        instrumentation.onCreate(extras);
        while (!am.hasFinished()) {
            shadowOf(Looper.getMainLooper()).idle();
            Intent started = shadowOf(context).getNextStartedActivity();
            if (started != null) {
                activity = Robolectric.buildActivity(BenchmarkActivity.class, started).setup();
                focused(focus.equals("gained") || focus.equals("lost"));
            }
            if (focus.equals("asked") && am.hasAskedForWindow()) {
                focused(true);
            }
            if (focus.equals("lost") && am.isTimed()) {
                focused(false);
            }
            if (warms && am.isTimed()) {
                beWarm(request, "thermal_status_during");
                warms = false;
            }
            Thread.sleep(POLL_MS);
        }
    }

    private void byHand(Bundle extras) throws Exception {
        Intent intent = new Intent(context, BenchmarkActivity.class).putExtras(extras);
        activity = Robolectric.buildActivity(BenchmarkActivity.class, intent).setup();
        focused(true);
        Activity shown = activity.get();
        while (!shown.isFinishing()) {
            shadowOf(Looper.getMainLooper()).idle();
            Thread.sleep(POLL_MS);
        }
    }

    private void focused(boolean has) {
        activity.windowFocusChanged(has);
    }

    private static Bundle extras(JsonObject request) {
        Bundle extras = new Bundle();
        for (Map.Entry<String, JsonElement> argument : request.getAsJsonObject("arguments").entrySet()) {
            extras.putString(argument.getKey(), argument.getValue().getAsString());
        }
        return extras;
    }

    private static String log() {
        return System.getenv("NNLITE_ANDROID_LOG");
    }
}
