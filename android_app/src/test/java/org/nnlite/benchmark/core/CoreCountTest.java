package org.nnlite.benchmark.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNull;

import org.junit.Test;
import org.nnlite.benchmark.core.Runs.HandClock;

import java.util.Map;
import java.util.TreeMap;

public final class CoreCountTest {
    private final HandClock clock = new HandClock();
    private Long core = 4L;
    private int told;

    private final CoreCount count = new CoreCount(clock, () -> core, runs -> told = runs);

    private void run(int number, long ms) {
        clock.nowNs += ms * 1_000_000;
        count.ran(number);
    }

    @Test
    public void theCoreIsReadOnceForEachSliceOfFortyMilliseconds() {
        run(1, 39);
        run(2, 1);
        core = 7L;
        run(3, 39);
        run(4, 100);
        run(5, 40);

        Map<String, Integer> expected = new TreeMap<>();
        expected.put("4", 1);
        expected.put("7", 2);
        assertEquals(expected, count.toJson());
        assertEquals(5, told);
    }

    @Test
    public void aKernelThatDoesNotTellGivesNoCount() {
        core = null;
        run(1, 50);

        assertNull(count.toJson());
    }
}
