package org.nnlite.benchmark.core;

import org.nnlite.benchmark.core.Runs.FakeEngine;
import org.nnlite.benchmark.core.Runs.FakeSurroundings;
import org.nnlite.benchmark.core.Runs.HandClock;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.LinkedHashMap;
import java.util.Map;

/** Lets the host's tests see what the core makes of their input: one command, its file, one JSON value per line. */
public final class CoreProbe {
    private CoreProbe() {}

    public static void main(String[] words) throws Exception {
        switch (words[0]) {
            case "statistics":
                for (String line : Files.readAllLines(Paths.get(words[1]))) {
                    String[] numbers = line.split(" ");
                    System.out.println(Json.write(Statistics.summarize(samples(numbers), Integer.parseInt(numbers[0]))));
                }
                break;
            case "operators":
                System.out.println(Json.write(ModelFile.operators(words[1])));
                break;
            case "defaults":
                System.out.println(Json.write(defaults()));
                break;
            case "reports":
                writeReports();
                break;
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    private static long[] samples(String[] numbers) {
        long[] samples = new long[numbers.length - 1];
        for (int index = 0; index < samples.length; index++) {
            samples[index] = Long.parseLong(numbers[index + 1]);
        }
        return samples;
    }

    private static Map<String, Object> defaults() {
        Arguments arguments = Runs.arguments("cpu");
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("threads", arguments.threads);
        json.put("warmup_min_runs", arguments.bounds.warmupMinRuns);
        json.put("warmup_min_s", arguments.bounds.warmupMinS);
        json.put("warmup_max_s", arguments.bounds.warmupMaxS);
        json.put("min_runs", arguments.bounds.minRuns);
        json.put("min_s", arguments.bounds.minS);
        json.put("max_s", arguments.bounds.maxS);
        json.put("few_runs", arguments.bounds.fewRuns);
        json.put("few_runs_max_s", arguments.bounds.fewRunsMaxS);
        return json;
    }

    /** A whole run, one on a device that tells nothing, and two refusals. */
    private static void writeReports() throws IOException {
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
    }

    private static void print(Report report) throws IOException {
        System.out.write((report.toJson() + "\n").getBytes(StandardCharsets.US_ASCII));
        System.out.flush();
    }
}
