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
import android.os.Handler;
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
import org.nnlite.host.VirtualDevice;
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
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/**
 * Runs the app's own instrumentation and activity on the framework of one Android version, with the APK's TensorFlow
 * Lite. Prints a line {@code DONE} when it is ready. Reads one request per line, JSON, and prints what {@code am
 * instrument -w -r} prints, then {@code DONE}.
 *
 * <p>A request has {@code arguments} (texts) and, where it differs from the usual, what the device does: {@code focus}
 * ({@code gained}, {@code lost} during the timed runs, {@code blocked}: gained after a further line, {@code show}),
 * {@code storage} (path of the external storage; false: none), {@code battery_percent}, {@code battery_tenths_c},
 * {@code charging}, {@code voltage_mv}, {@code charge_uah}, {@code power_saver}, {@code thermal_status}, {@code thermal_status_during} (from the timed runs on),
 * {@code headroom}, {@code by_hand}; of a virtual device also {@code pid}, {@code step_ns},
 * {@code offset_s} and {@code root}, see {@link VirtualDevice}.
 */
@RunWith(RobolectricTestRunner.class)
@Config(sdk = Config.ALL_SDKS, shadows = {FinishesItself.class, WarmPower.class})
public final class AppHost {
    /** Not System.out, which libraries print to. */
    private static final PrintStream OUT = new PrintStream(new FileOutputStream(FileDescriptor.out));

    private static final long POLL_MS = 10;

    private final Application context = RuntimeEnvironment.getApplication();
    private final BufferedReader requests =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
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
        ShadowLog.stream = new PrintStream(new FileOutputStream(log(), true), true, "UTF-8");
        // The first activity of a process takes long: the app would wait for its window in vain.
        Robolectric.buildActivity(BenchmarkActivity.class).setup().pause().stop().destroy();
        done();
        String line;
        while ((line = requests.readLine()) != null) {
            run(JsonParser.parseString(line).getAsJsonObject());
            done();
        }
    }

    private static void done() {
        OUT.println("DONE");
        OUT.flush();
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
    private void be(JsonObject request) throws IOException {
        int own = Integer.parseInt(new File("/proc/self").getCanonicalFile().getName());
        ShadowProcess.setPid(number(request, "pid", own));
        VirtualDevice.begin(
                request.has("step_ns") ? request.get("step_ns").getAsLong() : 1_000_000,
                number(request, "offset_s", 0),
                text(request, "root", "/nowhere"));
        String storage = text(request, "storage", "storage");
        ShadowEnvironment.reset();
        if (storage.equals("false")) {
            ShadowEnvironment.setExternalStorageState(Environment.MEDIA_REMOVED);
        } else {
            ShadowEnvironment.setExternalStorageState(Environment.MEDIA_MOUNTED);
            ShadowEnvironment.addExternalDir(storage);
        }
        power(request);
    }

    @SuppressWarnings("deprecation") // Only sticky broadcasts tell of a battery.
    private void power(JsonObject request) {
        boolean charging = text(request, "charging", "true").equals("true");
        int status = charging ? BatteryManager.BATTERY_STATUS_FULL : BatteryManager.BATTERY_STATUS_DISCHARGING;
        context.sendStickyBroadcast(
                new Intent(Intent.ACTION_BATTERY_CHANGED)
                        .putExtra(BatteryManager.EXTRA_LEVEL, 2 * number(request, "battery_percent", 86))
                        .putExtra(BatteryManager.EXTRA_SCALE, 200)
                        .putExtra(BatteryManager.EXTRA_STATUS, status)
                        .putExtra(BatteryManager.EXTRA_PLUGGED, charging ? BatteryManager.BATTERY_PLUGGED_USB : 0)
                        .putExtra(BatteryManager.EXTRA_VOLTAGE, number(request, "voltage_mv", 3_900))
                        .putExtra(BatteryManager.EXTRA_TEMPERATURE, number(request, "battery_tenths_c", 315)));
        shadowOf(context.getSystemService(BatteryManager.class))
                .setIntProperty(
                        BatteryManager.BATTERY_PROPERTY_CHARGE_COUNTER, number(request, "charge_uah", 3_000_000));
        ShadowPowerManager power = shadowOf(context.getSystemService(PowerManager.class));
        power.setIsPowerSaveMode(text(request, "power_saver", "false").equals("true"));
        WarmPower.headroom = Float.parseFloat(text(request, "headroom", "NaN"));
        beWarm(request, "thermal_status");
    }

    private void beWarm(JsonObject request, String name) {
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) {
            shadowOf(context.getSystemService(PowerManager.class))
                    .setCurrentThermalStatus(number(request, name, 0));
        }
    }

    private void instrument(JsonObject request, Bundle extras) throws Exception {
        String focus = text(request, "focus", "gained");
        // On the main thread, and over before the runs begin: they may take less than one turn of this loop.
        AmInstrument am = new AmInstrument(OUT, () -> onMainThread(() -> {
            if (focus.equals("lost")) {
                focused(false);
            }
            if (request.has("thermal_status_during")) {
                beWarm(request, "thermal_status_during");
            }
        }));
        Instrumentation instrumentation = new BenchmarkInstrumentation();
        am.attach(instrumentation, context);
        instrumentation.onCreate(extras);
        while (!am.hasFinished()) {
            shadowOf(Looper.getMainLooper()).idle();
            Intent started = shadowOf(context).getNextStartedActivity();
            if (started != null) {
                activity = Robolectric.buildActivity(BenchmarkActivity.class, started).setup();
                focused(!focus.equals("blocked"));
            }
            if (requests.ready()) {
                requests.readLine();
                focused(true);
            }
            Thread.sleep(POLL_MS);
        }
    }

    /** Has the main thread do something, and waits until it is done. */
    private static void onMainThread(Runnable action) {
        CompletableFuture.runAsync(action, new Handler(Looper.getMainLooper())::post).join();
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

    private static String text(JsonObject request, String name, String usual) {
        return request.has(name) ? request.get(name).getAsString() : usual;
    }

    private static int number(JsonObject request, String name, int usual) {
        return request.has(name) ? request.get(name).getAsInt() : usual;
    }

    private static String log() {
        return System.getenv("NNLITE_ANDROID_LOG");
    }
}
