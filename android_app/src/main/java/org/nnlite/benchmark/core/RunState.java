package org.nnlite.benchmark.core;

import java.util.Locale;
import java.util.concurrent.TimeUnit;

/** What a run is doing, and whether its window is in front. Written by several threads, read by any. */
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

    /** So many runs of the present stage ended; called between two of them, so it only stores a number. */
    public void ran(int count) {
        runs = count;
    }

    /** The window got or lost the focus. */
    public synchronized void focus(boolean has) {
        focused = has;
        lostFocus |= !has;
        notifyAll();
    }

    /** Waits until the window has the focus; false if it has not got it in time. */
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

    /** Returns what the screen says. */
    public synchronized String text() {
        if (stage == null) {
            return "NN Lite benchmark\nwaits for a run";
        }
        String progress = stage == Stage.INITIALIZE ? "" : String.format(Locale.ROOT, ", %d runs", runs);
        return String.format(Locale.ROOT, "NN Lite benchmark\n%s\n%s\n%s%s", model, backend, stage.word, progress);
    }
}
