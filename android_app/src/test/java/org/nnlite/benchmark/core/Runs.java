package org.nnlite.benchmark.core;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Test doubles for runs without Android: a clock that only inferences advance, an engine and surroundings. */
final class Runs {
    static final long MS = 1_000_000L;

    private Runs() {}

    static Map<String, String> values(String backend) {
        Map<String, String> values = new HashMap<>();
        values.put("run", "0123abcd");
        values.put("model", "/data/local/tmp/nnlite/model.tflite");
        values.put("inputs", "/data/local/tmp/nnlite/0123abcd_input_0.raw");
        values.put("backend", backend);
        return values;
    }

    static Arguments arguments(String backend) {
        try {
            return Arguments.of(values(backend));
        } catch (BadArguments error) {
            throw new AssertionError(error);
        }
    }

    /** A clock that only tests advance. */
    static final class HandClock implements Clock {
        long nowNs = 7_000 * MS;

        @Override
        public long nowNs() {
            return nowNs;
        }
    }

    /** An engine with the given durations of inferences. */
    static final class FakeEngine implements Engine {
        final HandClock clock;
        final List<String> calls = new ArrayList<>();
        long[] durationsNs = {20 * MS};
        Delegation delegation = new Delegation("TfLiteXNNPackDelegate", 34, 34, 1, Delegation.Source.LOG);
        Integer nnapiErrno;
        Refused atOpen;
        Error thrownAtVersion;
        int refuseInvocation = -1;
        byte[] output = {0, 0, (byte) 0x80, 0x3f};
        private int invocations;

        FakeEngine(HandClock clock) {
            this.clock = clock;
        }

        @Override
        public void open() throws Refused {
            calls.add("open");
            clock.nowNs += 150 * MS;
            if (atOpen != null) {
                throw atOpen;
            }
        }

        @Override
        public void fill() {
            calls.add("fill");
            clock.nowNs += 5 * MS;
        }

        @Override
        public long invoke() throws Refused {
            if (invocations == refuseInvocation) {
                throw new Refused(new IllegalStateException("Internal error: Failed to run on the given Interpreter"));
            }
            long durationNs = durationsNs[invocations++ % durationsNs.length];
            // Copies before and after an inference are not part of its duration.
            clock.nowNs += durationNs + MS;
            return durationNs;
        }

        @Override
        public Protocol.Inference canary(String model) {
            calls.add("canary");
            return () -> {
                clock.nowNs += MS / 5;
                return MS / 5;
            };
        }

        @Override
        public Delegation delegation() {
            return delegation;
        }

        @Override
        public String messages() {
            return "CAST: Operation is not supported.";
        }

        @Override
        public Integer nnapiErrno() {
            return nnapiErrno;
        }

        @Override
        public List<Output> outputs() {
            return Arrays.asList(
                    new Output(0, "StatefulPartitionedCall:0", "float32", new int[] {1, 1}, 0, 0, output),
                    new Output(1, "scores", "int8", new int[] {1, 2}, 0.00390625f, -128, new byte[] {1, -2}));
        }

        @Override
        public String version() {
            if (thrownAtVersion != null) {
                throw thrownAtVersion;
            }
            return "2.16.1";
        }

    }

    /** A phone with all values readable, or none. */
    static final class FakeSurroundings implements Surroundings {
        private final boolean tells;
        private int states;
        private long readings;
        private long memoryReadings;
        private List<Integer> bound;

        FakeSurroundings(boolean tells) {
            this.tells = tells;
        }

        @Override
        public DeviceState state() {
            DeviceState state = new DeviceState("2026-11-23T18:31:0" + states++ + ".123Z");
            if (tells) {
                state.freeRamKb = 412_000L;
                state.availableRamKb = 1_912_000L;
                state.cachedKb = 1_300_000L;
                state.load1m = 1.25;
                state.governor = "schedutil";
                state.frequencyKhz = 2_841_600L;
                state.frequenciesKhz = Arrays.asList(1_785_600L, null, 2_841_600L);
                state.temperaturesC.put("battery", 31.5);
                state.batteryPercent = 87.0;
                state.charging = true;
                state.thermalStatus = 0;
                state.powerSaver = false;
                state.cpuset = "/top-app";
            }
            return state;
        }

        @Override
        public Long core() {
            return tells ? 2L : null;
        }

        @Override
        public BatterySeries.Reading battery() {
            BatterySeries.Reading reading = new BatterySeries.Reading();
            if (tells) {
                reading.chargeUah = 2_900_000L;
                reading.voltageMv = 3_900;
                reading.plugged = false;
            }
            return reading;
        }

        @Override
        public boolean sustainsPerformance() {
            return tells;
        }

        @Override
        public void cool(double maxHeadroom, double maxS) {}

        @Override
        public Watch watchThermal(ThermalSeries series) {
            if (tells) {
                series.add(1, Float.NaN);
                series.add(null, 0.5f);
            }
            return () -> {};
        }

        @Override
        public List<Integer> cores() {
            List<Integer> allowed = bound == null ? Arrays.asList(0, 1, 2) : bound;
            return tells ? allowed : Collections.<Integer>emptyList();
        }

        @Override
        public String bind(List<Integer> cores) {
            bound = tells ? cores : null;
            return tells ? null : "there is no libnnlite_affinity.so";
        }

        @Override
        public Counters counters() {
            Counters counters = new Counters();
            if (tells) {
                long times = ++readings;
                counters.addThread(
                        "voluntary_ctxt_switches:\t" + 3 * times + "\nnonvoluntary_ctxt_switches:\t" + 4 * times + "\n",
                        "se.nr_migrations                             :            " + times + "\n");
                counters.minorFaults = 100 * times;
                counters.majorFaults = 0L;
                counters.userTicks = 200 * times;
                counters.systemTicks = 30 * times;
                counters.frequencyKhz = 2_841_600L / times;
            }
            return counters;
        }

        @Override
        public Long rssKb() {
            return tells ? 90_000L : null;
        }

        @Override
        public Long peakRssKb() {
            return tells ? 120_000L : null;
        }

        @Override
        public Long modelKb(String model) {
            return tells ? Long.valueOf(10_000L * ++memoryReadings) : null;
        }

        @Override
        public void forgetPeak() {}

        @Override
        public Long pssKb() {
            return tells ? 60_000L : null;
        }
    }

    /** Runs a benchmark in the foreground. */
    static Report run(Arguments arguments, FakeEngine engine, Surroundings surroundings) {
        RunState state = new RunState();
        state.focus(true);
        return new Benchmark(arguments, engine, surroundings, state, engine.clock, (stage, firstNs) -> {}).run();
    }
}
