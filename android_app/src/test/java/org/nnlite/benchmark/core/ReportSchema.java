package org.nnlite.benchmark.core;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;

import dev.harrel.jsonschema.Validator;
import dev.harrel.jsonschema.ValidatorFactory;
import dev.harrel.jsonschema.providers.GsonNode;

import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;

/** The JSON Schema of reports, also used by the host's tests; the system property report.schema names its file. */
final class ReportSchema {
    private final Validator validator;
    private final URI schema;

    ReportSchema() throws IOException {
        String file = System.getProperty("report.schema");
        String text = new String(Files.readAllBytes(Paths.get(file)), StandardCharsets.UTF_8);
        JsonObject root = JsonParser.parseString(text).getAsJsonObject();
        JsonObject ofRuns = new JsonObject();
        ofRuns.add("$schema", root.get("$schema"));
        ofRuns.add("$defs", root.get("$defs"));
        ofRuns.add("$ref", new JsonPrimitive("#/$defs/RunReport"));
        validator = new ValidatorFactory().withJsonNodeFactory(new GsonNode.Factory()).createValidator();
        schema = validator.registerSchema((JsonElement) ofRuns);
    }

    /** Returns the errors of a report; empty if it is valid. */
    String errors(String report) {
        StringBuilder errors = new StringBuilder();
        validator
                .validate(schema, report)
                .getErrors()
                .forEach(error -> errors.append(error.getInstanceLocation()).append(' ').append(error.getError())
                        .append('\n'));
        return errors.toString();
    }
}
