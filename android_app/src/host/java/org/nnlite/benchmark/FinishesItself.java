package org.nnlite.benchmark;

import android.app.ActivityThread;
import android.os.Bundle;

import org.robolectric.annotation.Implementation;
import org.robolectric.annotation.Implements;
import org.robolectric.annotation.RealObject;
import org.robolectric.shadows.ShadowActivityThread;

/** Passes an instrumentation's end on to `am` itself: there is no system server that does. */
@Implements(value = ActivityThread.class, isInAndroidSdk = false)
public final class FinishesItself extends ShadowActivityThread {
    static volatile AmInstrument watcher;

    @Implementation
    protected void finishInstrumentation(int code, Bundle results) {
        watcher.instrumentationFinished(null, code, results);
    }
}
