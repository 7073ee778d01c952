package org.nnlite.benchmark.core;

import java.util.Locale;
import java.util.concurrent.TimeUnit;

/** State of a run, and whether its window is in the foreground. Thread-safe. */
public final class RunState {
    private String model = "";
    private String backend = "";
    private Stage stage;
    private volatile int runs;
    private boolean focused;
    private boolean lostFocus;

    /** The run begins. */
    public synchronized void begin(Arguments arguments) {
        model = arguments.model.substring(arguments.model.lastIndexOf('/') + 1);
        backend = arguments.backend.word;
    }

    public synchronized void enter(Stage next) {
        stage = next;
        runs = 0;
    }

    /** Sets the number of finished runs of the stage; called between runs, so it only stores a number. */
    public void ran(int count) {
        runs = count;
    }

    /** The window got or lost the focus. */
    public synchronized void focus(boolean has) {
        focused = has;
        lostFocus |= !has;
        notifyAll();
    }

    /** Waits until the window has the focus; false after the timeout. */
    public synchronized boolean awaitFocus(long timeoutMs) throws InterruptedException {
        long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeoutMs);
        while (!focused) {
            long leftMs = TimeUnit.NANOSECONDS.toMillis(deadlineNs - System.nanoTime());
            if (leftMs <= 0) {
                return false;
            }
            wait(leftMs);
        }
        return true;
    }

    /** From now on a lost focus counts. */
    public synchronized void watchFocus() {
        lostFocus = !focused;
    }

    /** Whether the window had the focus all the time since {@link #watchFocus}. */
    public synchronized boolean keptFocus() {
        return focused && !lostFocus;
    }

    /** Returns the text for the screen. */
    public synchronized String text() {
        if (stage == null) {
            return "NN Lite benchmark\nwaits for a run";
        }
        String progress = stage == Stage.INITIALIZE ? "" : String.format(Locale.ROOT, ", %d runs", runs);
        return String.format(Locale.ROOT, "NN Lite benchmark\n%s\n%s\n%s%s", model, backend, stage.word, progress);
    }
}
