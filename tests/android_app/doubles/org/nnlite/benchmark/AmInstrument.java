package org.nnlite.benchmark;

import android.content.Context;
import android.os.Bundle;

/** Starts the app's instrumentation with arguments {@code key=value}. */
public final class AmInstrument {
    private AmInstrument() {}

    public static void main(String[] words) {
        Bundle extras = new Bundle();
        for (String word : words) {
            int end = word.indexOf('=');
            extras.putString(word.substring(0, end), word.substring(end + 1));
        }
        BenchmarkInstrumentation instrumentation = new BenchmarkInstrumentation();
        instrumentation.attach(new Context(() -> AppRun.STATE.focus(true)));
        instrumentation.onCreate(extras);
    }
}
