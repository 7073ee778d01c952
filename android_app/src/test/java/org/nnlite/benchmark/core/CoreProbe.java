package org.nnlite.benchmark.core;

import org.nnlite.benchmark.core.Runs.FakeEngine;
import org.nnlite.benchmark.core.Runs.FakeSurroundings;
import org.nnlite.benchmark.core.Runs.HandClock;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/** Runs parts of the core for the host's tests: one command and its file; prints one JSON value per line. */
public final class CoreProbe {
    private CoreProbe() {}

    public static void main(String[] words) throws Exception {
        switch (words[0]) {
            case "statistics":
                for (String line : Files.readAllLines(Paths.get(words[1]))) {
                    System.out.println(Json.write(Statistics.summarize(samples(line.split(" ")))));
                }
                break;
            case "operators":
                System.out.println(Json.write(ModelFile.operators(words[1])));
                break;
            case "arguments":
                System.out.println(Json.write(fields(Arguments.of(values(words[1])))));
                break;
            case "chunks":
                RunFile file = new RunFile("output_0.raw", Files.readAllBytes(Paths.get(words[1])));
                Delivery.send(Collections.singletonList(file), CoreProbe::print);
                break;
            case "delegation":
                DelegationLog log = DelegationLog.read(Files.readAllLines(Paths.get(words[1])), "1a", Backend.GPU);
                System.out.println(Json.write(log.delegation().toJson()));
                break;
            case "gated":
                for (String line : Files.readAllLines(Paths.get(words[1]))) {
                    System.out.println(Json.write(gated(samples(line.split(" ")))));
                }
                break;
            case "continuous":
                for (String line : Files.readAllLines(Paths.get(words[1]))) {
                    System.out.println(Json.write(continuous(samples(line.split(" ")))));
                }
                break;
            case "reports":
                writeReports();
                break;
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    private static long[] samples(String[] numbers) {
        long[] samples = new long[numbers.length];
        for (int index = 0; index < samples.length; index++) {
            samples[index] = Long.parseLong(numbers[index]);
        }
        return samples;
    }

    /** Reads lines of {@code key=value}. */
    private static Map<String, String> values(String file) throws IOException {
        Map<String, String> values = new LinkedHashMap<>();
        for (String line : Files.readAllLines(Paths.get(file))) {
            int end = line.indexOf('=');
            values.put(line.substring(0, end), line.substring(end + 1));
        }
        return values;
    }

    private static Map<String, Object> fields(Arguments arguments) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("run", arguments.run);
        json.put("model", arguments.model);
        json.put("inputs", arguments.inputs);
        json.put("samples", arguments.samples);
        json.put("backend", arguments.backend.word);
        json.put("threads", arguments.threads);
        json.put("cores", arguments.cores);
        json.put("precision_loss", arguments.precisionLoss);
        json.put("programs", arguments.programs);
        json.put("samples", arguments.samples);
        json.put("gate", arguments.gate == null ? null : fields(arguments.gate));
        json.put("continuous_s", arguments.continuousS);
        json.put("sustained", arguments.sustained);
        json.put("max_headroom", arguments.maxHeadroom);
        json.put("cool_s", arguments.coolS);
        json.put("transfer", arguments.transfer.name().toLowerCase(Locale.ROOT));
        json.put("warmup_min_runs", arguments.bounds.warmupMinRuns);
        json.put("warmup_min_s", arguments.bounds.warmupMinS);
        json.put("warmup_max_s", arguments.bounds.warmupMaxS);
        json.put("warmup_agreeing_runs", arguments.bounds.warmupAgreeingRuns);
        json.put("warmup_tolerance", arguments.bounds.warmupTolerance);
        json.put("min_runs", arguments.bounds.minRuns);
        json.put("min_s", arguments.bounds.minS);
        json.put("max_s", arguments.bounds.maxS);
        json.put("few_runs", arguments.bounds.fewRuns);
        json.put("few_runs_max_s", arguments.bounds.fewRunsMaxS);
        return json;
    }

    private static Map<String, Object> fields(Gate gate) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("gate_model", gate.model);
        json.put("gate_slice_s", gate.sliceS);
        json.put("gate_canary_s", gate.canaryS);
        json.put("gate_learn_s", gate.learnS);
        json.put("gate_limit", gate.limit);
        json.put("gate_fast_ns", gate.fastNs);
        return json;
    }

    /**
     * Times gated runs on a core of two speeds, with the defaults of the app.
     *
     * @param numbers durations of the model, of the canary and of the known fast speed, of the fast and the slow phase,
     *     nanoseconds; a slow core needs twice as long
     */
    private static Map<String, Object> gated(long[] numbers) throws Exception {
        HandClock clock = new HandClock();
        clock.nowNs = 0;
        Map<String, String> values = Runs.values("cpu");
        values.put("gate_model", "/gate.tflite");
        values.put("gate_fast_ns", String.valueOf(numbers[2]));
        Arguments arguments = Arguments.of(values);
        GatedRuns runs =
                new GatedRuns(
                        () -> ran(clock, numbers, 0),
                        () -> ran(clock, numbers, 1),
                        count -> {},
                        clock,
                        arguments.bounds,
                        arguments.gate);
        Protocol.Outcome outcome = runs.run(numbers[0]);
        Map<String, Object> json = runs.toJson();
        json.put("run_ns", outcome.elapsedNs);
        json.put("runs", outcome.samples.size());
        long sumNs = 0;
        for (long sampleNs : outcome.samples.toArray()) {
            sumNs += sampleNs;
        }
        json.put("sum_ns", sumNs);
        return json;
    }

    /**
     * Runs without pauses.
     *
     * @param numbers milliseconds of the pass, then durations of the inferences, which repeat, nanoseconds
     */
    private static Map<String, Object> continuous(long[] numbers) throws Refused {
        HandClock clock = new HandClock();
        int[] next = {0};
        ContinuousRuns runs = new ContinuousRuns();
        Protocol.Inference inference =
                () -> {
                    long durationNs = numbers[1 + next[0]++ % (numbers.length - 1)];
                    clock.nowNs += durationNs;
                    return durationNs;
                };
        runs.run(inference, count -> {}, () -> {}, clock, numbers[0] / 1e3);
        return runs.toJson();
    }

    private static long ran(HandClock clock, long[] numbers, int what) {
        boolean fast = clock.nowNs % (numbers[3] + numbers[4]) < numbers[3];
        long durationNs = fast ? numbers[what] : 2 * numbers[what];
        clock.nowNs += durationNs;
        return durationNs;
    }

    private static void print(String file, int piece, int pieces, String data) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("file", file);
        json.put("piece", piece);
        json.put("pieces", pieces);
        json.put("data", data);
        System.out.println(Json.write(json));
    }

    /** A complete run, one on a device without readable state, two refusals, a pass of continuous runs, and a gated run. */
    private static void writeReports() throws IOException, BadArguments {
        FakeEngine whole = new FakeEngine(new HandClock());
        Report report = Runs.run(Runs.arguments("cpu"), whole, new FakeSurroundings(true));
        report.folder = "/storage/emulated/0/Android/media/org.nnlite.benchmark/0123abcd";
        print(report);
        print(Runs.run(Runs.arguments("gpu"), new FakeEngine(new HandClock()), new FakeSurroundings(false)));
        FakeEngine refusing = new FakeEngine(new HandClock());
        refusing.atOpen = new Refused(new UnsatisfiedLinkError("dlopen failed: \u00fc"));
        print(Runs.run(Runs.arguments("gpu"), refusing, new FakeSurroundings(true)));
        FakeEngine idle = new FakeEngine(new HandClock());
        idle.delegation = new Delegation("TfLiteNnapiDelegate", 0, 34, null, Delegation.Source.LOG);
        idle.nnapiErrno = 0;
        print(Runs.run(Runs.arguments("npu"), idle, new FakeSurroundings(true)));
        Map<String, String> values = Runs.values("cpu");
        values.put("continuous_s", "3.5");
        print(Runs.run(Arguments.of(values), new FakeEngine(new HandClock()), new FakeSurroundings(true)));
        values = Runs.values("cpu");
        values.put("gate_model", "/gate.tflite");
        print(Runs.run(Arguments.of(values), new FakeEngine(new HandClock()), new FakeSurroundings(true)));
    }

    private static void print(Report report) throws IOException {
        System.out.write((report.toJson() + "\n").getBytes(StandardCharsets.US_ASCII));
        System.out.flush();
    }
}
