package org.nnlite.benchmark.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

import java.util.Arrays;
import java.util.Collections;
import java.util.Map;

public final class ArgumentsTest {
    @Rule public final TemporaryFolder folder = new TemporaryFolder();

    @Test
    public void everyArgumentOfTheHostIsRead() throws Exception {
        Map<String, String> values = Runs.values("gpu");
        values.put("inputs", "/data/local/tmp/nnlite/a_input_0.raw,/data/local/tmp/nnlite/a_input_1.raw");
        values.put("samples", "3");
        values.put("threads", "4");
        values.put("precision_loss", "true");
        values.put("transfer", "status");
        values.put("warmup_min_runs", "6");
        values.put("warmup_min_s", "0.25");
        values.put("warmup_max_s", "11");
        values.put("warmup_agreeing_runs", "0");
        values.put("warmup_tolerance", "0.05");
        values.put("min_runs", "51");
        values.put("min_s", "3");
        values.put("max_s", "61");
        values.put("few_runs", "7");
        values.put("few_runs_max_s", "181");

        Arguments arguments = Arguments.of(values);

        assertEquals(
                Arrays.asList("/data/local/tmp/nnlite/a_input_0.raw", "/data/local/tmp/nnlite/a_input_1.raw"),
                arguments.inputs);
        assertEquals(Backend.GPU, arguments.backend);
        assertEquals(3, arguments.samples);
        assertEquals(4, arguments.threads);
        assertTrue(arguments.precisionLoss);
        assertEquals(Arguments.Transfer.STATUS, arguments.transfer);
        assertEquals(6, arguments.bounds.warmupMinRuns);
        assertEquals(0.25, arguments.bounds.warmupMinS, 0);
        assertEquals(11, arguments.bounds.warmupMaxS, 0);
        assertEquals(0, arguments.bounds.warmupAgreeingRuns);
        assertEquals(0.05, arguments.bounds.warmupTolerance, 0);
        assertEquals(51, arguments.bounds.minRuns);
        assertEquals(3, arguments.bounds.minS, 0);
        assertEquals(61, arguments.bounds.maxS, 0);
        assertEquals(7, arguments.bounds.fewRuns);
        assertEquals(181, arguments.bounds.fewRunsMaxS, 0);
    }

    @Test
    public void fourArgumentsAreEnough() throws Exception {
        Arguments arguments = Arguments.of(Runs.values("cpu"));

        assertFalse(arguments.precisionLoss);
        assertEquals(Arguments.Transfer.AUTO, arguments.transfer);
    }

    @Test
    public void anArtifactMayHaveNoInputs() throws Exception {
        Map<String, String> values = Runs.values("cpu");
        values.put("inputs", "");

        assertEquals(Collections.emptyList(), Arguments.of(values).inputs);
    }

    @Test
    public void whatMakesNoSenseIsNamedWithItsValue() {
        refused("run", "../x", "run is ../x");
        refused("model", "m.tflite", "model is m.tflite: give the full path");
        refused("inputs", "/a,", "inputs is ");
        refused("backend", "tpu", "backend is tpu: give cpu, gpu, npu or cpu-plain");
        refused("threads", "0", "threads is 0");
        refused("threads", "two", "threads is two");
        refused("precision_loss", "yes", "precision_loss is yes: give true or false");
        refused("transfer", "mail", "transfer is mail: give auto or status");
        refused("min_s", "-1", "min_s is -1");
        refused("max_s", "NaN", "max_s is NaN");
        refused("max_s", "soon", "max_s is soon");
        refused("colour", "red", "There is no argument colour");
    }

    @Test
    public void aMissingArgumentIsNamed() {
        for (String key : Arrays.asList("run", "model", "inputs", "backend")) {
            Map<String, String> values = Runs.values("cpu");
            values.remove(key);

            BadArguments error = assertThrows(BadArguments.class, () -> Arguments.of(values));

            assertEquals("The argument " + key + " is missing", error.getMessage());
        }
    }

    @Test
    public void aFileThatCannotBeReadIsNamedBeforeAnythingRuns() throws Exception {
        Map<String, String> values = Runs.values("cpu");
        values.put("model", folder.newFile("model.tflite").getPath());
        values.put("inputs", folder.getRoot() + "/missing.raw");

        BadArguments error = assertThrows(BadArguments.class, () -> Arguments.of(values).requireFiles());

        assertTrue(error.getMessage(), error.getMessage().contains("missing.raw cannot be read"));
    }

    private static void refused(String key, String value, String message) {
        Map<String, String> values = Runs.values("cpu");
        values.put(key, value);

        BadArguments error = assertThrows(BadArguments.class, () -> Arguments.of(values));

        assertTrue(error.getMessage(), error.getMessage().startsWith(message));
    }
}
