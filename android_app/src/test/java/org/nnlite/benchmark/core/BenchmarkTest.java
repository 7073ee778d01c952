package org.nnlite.benchmark.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertNotEquals;
import static org.junit.Assert.assertTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;

import org.junit.Test;
import org.nnlite.benchmark.core.Runs.FakeEngine;
import org.nnlite.benchmark.core.Runs.FakeSurroundings;
import org.nnlite.benchmark.core.Runs.HandClock;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;

public final class BenchmarkTest {
    private final FakeEngine engine = new FakeEngine(new HandClock());
    private final RunState state = new RunState();
    private final List<String> stages = new ArrayList<>();

    @Test
    public void aRunGoesThroughItsStagesAndReportsEverything() throws IOException {
        engine.durationsNs = new long[] {70 * Runs.MS, 20 * Runs.MS};

        JsonObject report = run("cpu", true);

        assertEquals(Arrays.asList("initialize null", "warm-up 70000000", "run 70000000"), stages);
        assertEquals(Arrays.asList("open", "fill"), engine.calls);
        assertEquals("run", report.get("stage").getAsString());
        assertTrue(report.get("error").isJsonNull());
        assertEquals(150 * Runs.MS, report.get("init_ns").getAsLong());
        assertEquals(70 * Runs.MS, report.get("first_inference_ns").getAsLong());
        assertEquals(20, report.get("warmup_runs").getAsInt());
        assertEquals(50, report.get("runs").getAsInt());
        assertEquals(45 * Runs.MS, report.getAsJsonObject("latency").get("median_ns").getAsLong());
        assertEquals(2, report.getAsJsonArray("outputs").size());
        assertEquals(34, report.getAsJsonObject("delegation").get("delegated_nodes").getAsInt());
        assertEquals("/top-app", report.getAsJsonObject("after").get("cpuset").getAsString());
        assertNotEquals(report.getAsJsonObject("before").get("at"), report.getAsJsonObject("after").get("at"));
        assertTrue(report.get("in_front").getAsBoolean());
        JsonObject memory = report.getAsJsonObject("memory");
        int grownKb = 0;
        for (String stage : Arrays.asList("load", "first_run", "steady")) {
            grownKb += 10_000;
            assertEquals(grownKb, memory.getAsJsonObject(stage).get("model_kb").getAsInt());
            assertEquals(120_000, memory.getAsJsonObject(stage).get("process_kb").getAsInt());
        }
        JsonObject disturbance = report.getAsJsonObject("disturbance");
        assertEquals(50 * 46 * Runs.MS, disturbance.get("window_ns").getAsLong());
        assertEquals(1, disturbance.get("migrations").getAsInt());
        assertEquals(4, disturbance.get("involuntary_switches").getAsInt());
        assertEquals(100, disturbance.get("minor_faults").getAsInt());
        assertEquals(1, disturbance.get("own_cores").getAsDouble(), 1e-9);
        assertEquals(1_420_800, disturbance.get("frequency_min_khz").getAsInt());
    }

    @Test
    public void aDeviceThatTellsNothingStillGivesAReport() throws IOException {
        JsonObject report = run("cpu", false);

        assertTrue(report.get("peak_rss_kb").isJsonNull());
        assertEquals(96, report.get("runs").getAsInt());
    }

    @Test
    public void aDelegateThatRefusesIsAReportWithItsWords() throws IOException {
        engine.atOpen = new Refused(new IllegalArgumentException("Internal error: Failed to apply delegate: \u00e4"));
        engine.delegation = null;

        JsonObject report = run("gpu", true);

        assertEquals("Internal error: Failed to apply delegate: \u00e4", report.get("error").getAsString());
        assertEquals("runtime", report.get("refusal").getAsString());
        assertEquals("initialize", report.get("stage").getAsString());
        assertTrue(report.get("init_ns").isJsonNull());
        assertEquals(Arrays.asList("open"), engine.calls);
    }

    @Test
    public void aLibraryThatCannotBeLoadedIsAReport() throws IOException {
        engine.thrownAtVersion = new UnsatisfiedLinkError("dlopen failed: program alignment cannot be smaller than system page size");

        JsonObject report = run("cpu", true);

        assertEquals(
                "java.lang.UnsatisfiedLinkError: dlopen failed: program alignment cannot be smaller than system page size",
                report.get("error").getAsString());
        assertEquals("runtime", report.get("refusal").getAsString());
        assertEquals("initialize", report.get("stage").getAsString());
    }

    @Test
    public void aDelegateThatTakesNothingIsNotMeasured() throws IOException {
        engine.delegation = new Delegation("TfLiteNnapiDelegate", 0, 34, null, Delegation.Source.LOG);
        engine.nnapiErrno = 3;

        JsonObject report = run("npu", true);

        assertEquals("not_delegated", report.get("refusal").getAsString());
        assertEquals(0, report.getAsJsonObject("delegation").get("delegated_nodes").getAsInt());
        assertEquals(3, report.get("nnapi_errno").getAsInt());
        assertTrue(report.get("latency").isJsonNull());
        assertEquals("", report.get("samples").getAsString());
        assertEquals(Arrays.asList("initialize null"), stages);
    }

    @Test
    public void aRuntimeThatFailsInTheMiddleGivesNoLatency() throws IOException {
        engine.refuseInvocation = 60;

        JsonObject report = run("cpu", true);

        assertEquals("run", report.get("stage").getAsString());
        assertEquals("runtime", report.get("refusal").getAsString());
        assertTrue(report.get("latency").isJsonNull());
        assertEquals(0, report.getAsJsonArray("outputs").size());
    }

    @Test
    public void precisionLossIsOfTheGpuAlone() throws IOException {
        assertTrue(run("cpu", true).get("precision_loss").isJsonNull());
        assertFalse(run("gpu", true).get("precision_loss").getAsBoolean());
    }

    @Test
    public void aWindowThatWasNeverInFrontIsSaid() throws IOException {
        state.focus(false);
        Report report = benchmark("cpu", true).run();

        assertFalse(checked(report).get("in_front").getAsBoolean());
    }

    @Test
    public void manySamplesAreAFileBesideTheReport() throws IOException {
        engine.durationsNs = new Random(1).longs(40_000, 50_000, 5_000_000).toArray();
        Map<String, String> values = Runs.values("cpu");
        values.put("min_s", "60");
        state.focus(true);

        Report report;
        try {
            report = new Benchmark(
                            Arguments.of(values), engine, new FakeSurroundings(true), state, engine.clock,
                            (stage, firstNs) -> {})
                    .run();
        } catch (BadArguments error) {
            throw new AssertionError(error);
        }

        JsonObject json = checked(report);
        assertEquals("", json.get("samples").getAsString());
        assertEquals("samples.z", json.getAsJsonObject("samples_file").get("file").getAsString());
        assertEquals(3, report.files().size());
    }

    private JsonObject run(String backend, boolean tells) throws IOException {
        state.focus(true);
        return checked(benchmark(backend, tells).run());
    }

    private Benchmark benchmark(String backend, boolean tells) {
        return new Benchmark(
                Runs.arguments(backend), engine, new FakeSurroundings(tells), state, engine.clock,
                (stage, firstNs) -> stages.add(stage.word + " " + firstNs));
    }

    private static JsonObject checked(Report report) throws IOException {
        String json = report.toJson();
        assertEquals("", new ReportSchema().errors(json));
        return JsonParser.parseString(json).getAsJsonObject();
    }
}
