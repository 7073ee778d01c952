package org.nnlite.benchmark.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;

import org.junit.Test;

public final class RunStateTest {
    private final RunState state = new RunState();

    @Test
    public void theScreenSaysWhatRuns() {
        assertEquals("NN Lite benchmark\nwaits for a run", state.text());

        state.begin(Runs.arguments("gpu"));
        state.enter(Stage.INITIALIZE);
        assertEquals("NN Lite benchmark\nmodel.tflite\ngpu\ninitialize", state.text());

        state.enter(Stage.RUN);
        state.ran(17);
        assertEquals("NN Lite benchmark\nmodel.tflite\ngpu\nrun, 17 runs", state.text());
    }

    @Test
    public void focusThatComesInAnotherThreadEndsTheWait() throws InterruptedException {
        Thread window = new Thread(() -> state.focus(true));
        window.start();

        assertTrue(state.awaitFocus(60_000));
        window.join();
    }

    @Test
    public void focusThatNeverComesIsNotWaitedForForEver() throws InterruptedException {
        assertFalse(state.awaitFocus(1));
        state.watchFocus();
        assertFalse(state.keptFocus());
    }

    @Test
    public void focusLostBeforeTheWatchDoesNotCount() {
        state.focus(true);
        state.focus(false);
        state.focus(true);

        state.watchFocus();

        assertTrue(state.keptFocus());
    }

    @Test
    public void focusLostAndRegainedWasLost() {
        state.focus(true);
        state.watchFocus();

        state.focus(false);
        state.focus(true);

        assertFalse(state.keptFocus());
    }

    @Test
    public void focusThatComesLateWasNotThereAllTheTime() {
        state.watchFocus();
        state.focus(true);

        assertFalse(state.keptFocus());
    }
}
