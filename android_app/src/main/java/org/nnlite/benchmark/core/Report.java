package org.nnlite.benchmark.core;

import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Report of one artifact on one backend: {@code RunReport} of the report schema, {@code
 * services/nnlite/reports/schema.py}. Null: not measured.
 */
public final class Report {
    static final int MOST_WORD_LENGTH = 300;
    private static final int MOST_ERROR_LENGTH = 10_000;
    private static final String SAMPLES_FILE = "samples.z";

    public String runtime = "TFLite";
    public String runtimeVersion = "unknown";
    public final int threads;
    public List<Integer> cores = Collections.emptyList();

    /** Why they are not those that were asked for; null: they are, or none were. */
    public String coresError;

    public Stage stage = Stage.INITIALIZE;
    public Long initNs;
    public Long firstInferenceNs;
    public int warmupRuns;
    public long warmupNs;
    public Long peakRssKb;
    public Long baselineRssKb;
    public Map<String, Object> memory;
    public Long pssBeforeKb;
    public Long pssAfterKb;
    public Delegation delegation;

    /** What the delegate wrote during the initialization; null: unknown. */
    public String delegateMessages;

    public Integer nnapiErrno;
    public final Boolean precisionLoss;
    public Boolean inFront;
    public Map<String, Object> disturbance;

    /** The device holds a sustained performance level for the window; null: not asked for. */
    public Boolean sustainedPerformance;

    /** Spent on waiting for a cool device before the run. */
    public Long cooledNs;

    public Map<String, Object> thermal;

    /** From the first timed run's start to the last one's end. */
    public long runNs;

    /** Of runs without pauses; null: they were timed one by one. */
    public Map<String, Object> bins;

    /** Of the battery, with them. */
    public Map<String, Object> battery;

    /** Slices of the timed runs, by core. */
    public Map<String, Integer> sliceCores;
    public DeviceState before;
    public DeviceState after;

    /** Folder of the files on the device; null: sent as chunks in status messages. */
    public String folder;

    private String error;
    private Refused.By refusal;
    private Integer runs;
    private Map<String, Object> latency;
    private String samples = "";
    private RunFile samplesFile;
    private Map<String, Object> slices;
    private boolean samplesComplete = true;
    private List<Output> outputs = Collections.emptyList();

    public Report(Arguments arguments) {
        threads = arguments.threads;
        precisionLoss = arguments.backend == Backend.GPU ? arguments.precisionLoss : null;
    }

    /** Ends the run in its current stage. */
    public void refuse(Refused refused) {
        error = cut(refused.getMessage(), MOST_ERROR_LENGTH);
        refusal = refused.by;
    }

    /**
     * Stores the results of the timed runs.
     *
     * @param slices of gated sampling; null: every run counts
     */
    public void complete(Protocol.Outcome timed, Map<String, Object> slices, List<Output> outputs) {
        long[] all = timed.samples.toArray();
        runNs = timed.elapsedNs;
        runs = all.length;
        latency = Statistics.summarize(all);
        SampleCodec.Encoded encoded = SampleCodec.encode(all, SampleCodec.LIMIT);
        samplesComplete = encoded.complete;
        // Slices tell samples apart by their number, so that they need all of them.
        this.slices = encoded.complete ? slices : null;
        if (encoded.bytes.length < SampleCodec.INLINE_LIMIT) {
            samples = Base64.getEncoder().encodeToString(encoded.bytes);
        } else {
            samplesFile = new RunFile(SAMPLES_FILE, encoded.bytes);
        }
        this.outputs = outputs;
    }

    /** Returns every file that the report names. */
    public List<RunFile> files() {
        List<RunFile> files = new ArrayList<>();
        for (Output output : outputs) {
            files.add(output.file);
        }
        if (samplesFile != null) {
            files.add(samplesFile);
        }
        return files;
    }

    /** Returns the report as one line of JSON. */
    public String toJson() {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("schema_version", 1);
        json.put("runtime", runtime);
        json.put("runtime_version", cut(runtimeVersion, MOST_WORD_LENGTH));
        json.put("threads", threads);
        json.put("cores", cores);
        json.put("cores_error", coresError == null ? null : cut(coresError, MOST_ERROR_LENGTH));
        json.put("stage", stage.word);
        json.put("error", error);
        json.put("refusal", refusal == null ? null : refusal.word);
        json.put("init_ns", initNs);
        json.put("first_inference_ns", firstInferenceNs);
        json.put("warmup_runs", warmupRuns);
        json.put("warmup_ns", warmupNs);
        json.put("run_ns", runNs);
        json.put("samples", samples);
        json.put("samples_file", samplesFile == null ? null : samplesFile.toJson());
        json.put("samples_complete", samplesComplete);
        json.put("slices", slices);
        json.put("bins", bins);
        json.put("battery", battery);
        json.put("runs", runs);
        json.put("latency", latency);
        json.put("peak_rss_kb", peakRssKb);
        json.put("baseline_rss_kb", baselineRssKb);
        json.put("memory", memory);
        json.put("pss_before_kb", pssBeforeKb);
        json.put("pss_after_kb", pssAfterKb);
        json.put("delegation", delegation == null ? null : delegation.toJson());
        json.put("delegate_messages", delegateMessages);
        json.put("nnapi_errno", nnapiErrno);
        json.put("precision_loss", precisionLoss);
        json.put("in_front", inFront);
        json.put("disturbance", disturbance);
        json.put("sustained_performance", sustainedPerformance);
        json.put("cooled_ns", cooledNs);
        json.put("thermal", thermal);
        json.put("slice_cores", sliceCores);
        json.put("before", before == null ? null : before.toJson());
        json.put("after", after == null ? null : after.toJson());
        json.put("folder", folder);
        List<Object> written = new ArrayList<>();
        for (Output output : outputs) {
            written.add(output.toJson());
        }
        json.put("outputs", written);
        return Json.write(json);
    }

    static String cut(String text, int length) {
        return text.length() <= length ? text : text.substring(0, length);
    }
}
