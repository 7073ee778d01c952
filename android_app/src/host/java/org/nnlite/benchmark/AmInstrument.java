package org.nnlite.benchmark;

import android.app.ActivityThread;
import android.app.IInstrumentationWatcher;
import android.app.IUiAutomationConnection;
import android.app.Instrumentation;
import android.content.ComponentName;
import android.content.Context;
import android.os.Bundle;

import org.robolectric.RuntimeEnvironment;
import org.robolectric.util.ReflectionHelpers;
import org.robolectric.util.ReflectionHelpers.ClassParameter;

import java.io.PrintStream;
import java.util.TreeSet;

/** Receives what an instrumentation reports, and prints it as AOSP's {@code am instrument -w -r} does. */
final class AmInstrument extends IInstrumentationWatcher.Stub {
    private final PrintStream out;
    private final Runnable onTimedRuns;
    private volatile boolean finished;

    /**
     * @param onTimedRuns called on the app's thread before each series of timed runs
     */
    AmInstrument(PrintStream out, Runnable onTimedRuns) {
        this.out = out;
        this.onTimedRuns = onTimedRuns;
    }

    /** Connects a new instrumentation to this, as the framework's ActivityThread does. */
    void attach(Instrumentation instrumentation, Context target) {
        ReflectionHelpers.callInstanceMethod(
                Instrumentation.class,
                instrumentation,
                "init",
                ClassParameter.from(ActivityThread.class, RuntimeEnvironment.getActivityThread()),
                ClassParameter.from(Context.class, target),
                ClassParameter.from(Context.class, target),
                ClassParameter.from(ComponentName.class, new ComponentName(target, BenchmarkInstrumentation.class)),
                ClassParameter.from(IInstrumentationWatcher.class, this),
                ClassParameter.from(IUiAutomationConnection.class, null));
        FinishesItself.watcher = this;
    }

    boolean hasFinished() {
        return finished;
    }

    @Override
    public void instrumentationStatus(ComponentName name, int code, Bundle values) {
        print("STATUS", values);
        out.println("INSTRUMENTATION_STATUS_CODE: " + code);
        out.flush();
        if ("run".equals(values.getString("stage"))) {
            onTimedRuns.run();
        }
    }

    @Override
    public void instrumentationFinished(ComponentName name, int code, Bundle values) {
        print("RESULT", values);
        out.println("INSTRUMENTATION_CODE: " + code);
        out.flush();
        finished = true;
    }

    private void print(String kind, Bundle values) {
        for (String key : new TreeSet<>(values.keySet())) {
            out.println("INSTRUMENTATION_" + kind + ": " + key + "=" + values.getString(key));
        }
    }
}
