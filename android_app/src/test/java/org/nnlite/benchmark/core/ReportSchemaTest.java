package org.nnlite.benchmark.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNotEquals;

import org.junit.Test;
import org.nnlite.benchmark.core.Runs.FakeEngine;
import org.nnlite.benchmark.core.Runs.FakeSurroundings;
import org.nnlite.benchmark.core.Runs.HandClock;

import java.io.IOException;

public final class ReportSchemaTest {
    private final String report =
            Runs.run(Runs.arguments("cpu"), new FakeEngine(new HandClock()), new FakeSurroundings(true)).toJson();

    @Test
    public void theSchemaWouldNoticeAWrongReport() throws IOException {
        ReportSchema schema = new ReportSchema();

        assertEquals("", schema.errors(report));
        assertNotEquals("", schema.errors(report.replace("\"stage\":\"run\"", "\"stage\":\"lunch\"")));
        assertNotEquals("", schema.errors(report.replace("\"threads\":1", "\"threads\":-1")));
        assertNotEquals("", schema.errors(report.replace("\"runtime\":\"TFLite\",", "")));
        assertNotEquals("", schema.errors(report.replace("\"threads\":1", "\"threads\":1,\"colour\":\"red\"")));
    }
}
