package org.nnlite.benchmark.core;

import java.util.LinkedHashMap;
import java.util.Map;

/** Memory of the process by stage, since before the artifact was loaded: {@code Memory} of the report schema. */
final class MemoryUse {
    private static final String FIRST_RUN = "first_run";

    private final Surroundings surroundings;
    private final String model;
    private final Long beforeKb;
    private final Map<String, Object> stages = new LinkedHashMap<>();

    /** Reads the memory before the artifact. */
    MemoryUse(Surroundings surroundings, String model) {
        this.surroundings = surroundings;
        this.model = model;
        this.beforeKb = surroundings.modelKb(model);
    }

    void afterLoad() {
        note("load");
    }

    void afterFirstRun() {
        note(FIRST_RUN);
    }

    void afterWarmUp() {
        note("steady");
    }

    /** Returns the stages; null before the first inference has ended. */
    Map<String, Object> toJson() {
        return stages.containsKey(FIRST_RUN) ? stages : null;
    }

    private void note(String stage) {
        Long nowKb = surroundings.modelKb(model);
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("model_kb", nowKb == null || beforeKb == null ? null : Long.valueOf(Math.max(nowKb - beforeKb, 0)));
        json.put("process_kb", surroundings.peakRssKb());
        stages.put(stage, json);
    }
}
