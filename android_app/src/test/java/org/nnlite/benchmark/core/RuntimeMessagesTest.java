package org.nnlite.benchmark.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNull;

import org.junit.Test;

public final class RuntimeMessagesTest {
    private static final String FAILED = "Internal error: Failed to resize 0-th input: ";
    private static final String ATTEMPT =
            "Attempting to resize dimension 0 of tensor 4 with value 1 to 2. ResizeInputTensorStrict only allows "
                    + "mutating unknown dimensions identified by -1.";

    @Test
    public void theMessagesBeforeTheAttemptAreKept() {
        assertEquals("CAST: no.", RuntimeMessages.ofInitialization(FAILED + "CAST: no.\n" + ATTEMPT));
        assertEquals("", RuntimeMessages.ofInitialization(FAILED + ATTEMPT));
    }

    @Test
    public void messagesThatFillTheBufferAreKeptWithoutTheAttempt() {
        assertEquals("CAST: no", RuntimeMessages.ofInitialization(FAILED + "CAST: no"));
        assertEquals("CAST: no.", RuntimeMessages.ofInitialization(FAILED + "CAST: no.\n" + ATTEMPT.substring(0, 40)));
    }

    @Test
    public void anotherTextSaysNothing() {
        assertNull(RuntimeMessages.ofInitialization("Invalid tensor dimension"));
        assertNull(RuntimeMessages.ofInitialization(null));
    }
}
