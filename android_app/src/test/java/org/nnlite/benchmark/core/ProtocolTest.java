package org.nnlite.benchmark.core;

import static org.junit.Assert.assertEquals;

import org.junit.Test;
import org.nnlite.benchmark.core.Runs.HandClock;

import java.util.ArrayList;
import java.util.List;

public final class ProtocolTest {
    private static final Bounds BOUNDS = Runs.arguments("cpu").bounds;

    private final HandClock clock = new HandClock();
    private final Protocol protocol = new Protocol(clock, BOUNDS);

    @Test
    public void warmUpOfAQuickModelLastsHalfASecond() throws Refused {
        assertEquals(50, warmUpRuns(10 * Runs.MS));
    }

    @Test
    public void warmUpOfASlowModelLastsTwentyRunsThatAgree() throws Refused {
        assertEquals(20, warmUpRuns(200 * Runs.MS));
    }

    /** As in the host's test. */
    @Test
    public void warmUpGoesOnUntilAModelThatBecomesFasterIsSteady() throws Refused {
        int[] runs = {0};
        Protocol.Outcome outcome = protocol.warmUp(() -> {
            long durationNs = (runs[0]++ < 100 ? 4 : 1) * Runs.MS;
            clock.nowNs += durationNs;
            return durationNs;
        }, ran -> {});

        assertEquals(934, outcome.samples.size());
    }

    @Test
    public void warmUpEndsAtTenSecondsWhateverItsRuns() throws Refused {
        assertEquals(3, warmUpRuns(4_000 * Runs.MS));
        assertEquals(1, warmUpRuns(30_000 * Runs.MS));
    }

    @Test
    public void timedRunsOfAQuickModelLastTwoSeconds() throws Refused {
        assertEquals(200, timedRuns(10 * Runs.MS));
    }

    @Test
    public void timedRunsAreFiftyWhenTwoSecondsAreOverBefore() throws Refused {
        assertEquals(50, timedRuns(100 * Runs.MS));
    }

    @Test
    public void timedRunsEndAtAMinuteWithFewRuns() throws Refused {
        assertEquals(20, timedRuns(3_000 * Runs.MS));
    }

    @Test
    public void fewerThanFiveRunsGoOnToFive() throws Refused {
        assertEquals(5, timedRuns(20_000 * Runs.MS));
    }

    @Test
    public void nothingGoesOnPastThreeMinutes() throws Refused {
        assertEquals(3, timedRuns(70_000 * Runs.MS));
    }

    @Test
    public void aSampleIsTheInferenceAloneAndTheElapsedTimeIsEverything() throws Refused {
        Protocol.Outcome outcome = protocol.timedRuns(() -> {
            clock.nowNs += 100 * Runs.MS;
            return 90 * Runs.MS;
        }, runs -> {});

        assertEquals(90 * Runs.MS, outcome.samples.toArray()[0]);
        assertEquals(50 * 100 * Runs.MS, outcome.elapsedNs);
    }

    @Test
    public void everyRunIsReportedAsProgress() throws Refused {
        List<Integer> heard = new ArrayList<>();

        protocol.warmUp(inference(2_000 * Runs.MS), heard::add);

        assertEquals(java.util.Arrays.asList(1, 2, 3, 4, 5), heard);
    }

    private int warmUpRuns(long durationNs) throws Refused {
        return protocol.warmUp(inference(durationNs), runs -> {}).samples.size();
    }

    private int timedRuns(long durationNs) throws Refused {
        return protocol.timedRuns(inference(durationNs), runs -> {}).samples.size();
    }

    private Protocol.Inference inference(long durationNs) {
        return () -> {
            clock.nowNs += durationNs;
            return durationNs;
        };
    }
}
