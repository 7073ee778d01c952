package org.nnlite.benchmark.core;

import java.io.FileInputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Arguments of a run: text keys and values of {@code am instrument -e} or {@code am start --es}. Every
 * key except run, model, inputs and backend has a default, equal to the host's.
 */
public final class Arguments {
    private static final Set<String> KEYS =
            new HashSet<>(
                    Arrays.asList(
                            "run",
                            "model",
                            "inputs",
                            "samples",
                            "backend",
                            "threads",
                            "cores",
                            "precision_loss",
                            "programs",
                            "gate_model",
                            "gate_slice_s",
                            "gate_canary_s",
                            "gate_learn_s",
                            "gate_limit",
                            "gate_fast_ns",
                            "continuous_s",
                            "sustained",
                            "max_headroom",
                            "cool_s",
                            "transfer",
                            "warmup_min_runs",
                            "warmup_min_s",
                            "warmup_max_s",
                            "warmup_agreeing_runs",
                            "warmup_tolerance",
                            "min_runs",
                            "min_s",
                            "max_s",
                            "few_runs",
                            "few_runs_max_s"));

    /** How the outputs are transferred to the host. */
    public enum Transfer {
        /** As files; as chunks in status messages if files cannot be written. */
        AUTO,
        /** As chunks in status messages. */
        STATUS
    }

    /** Name of the folder of the run's files. */
    public final String run;

    /** The artifact's full path. */
    public final String model;

    /** One raw little-endian file for each input, in the artifact's order. */
    public final List<String> inputs;

    /** How many samples each input file has, one behind the other; 0: one, whose run is timed. */
    public final int samples;

    public final Backend backend;
    public final int threads;

    /** Cores that the measuring thread is bound to; empty: as the scheduler likes. */
    public final List<Integer> cores;

    /** Whether the GPU may compute in fp16. */
    public final boolean precisionLoss;

    /** Name under which the GPU delegate keeps its compiled programs for a later run; empty: it keeps none. */
    public final String programs;

    /** Seconds of runs without pauses, which are reported in bins; 0: timed runs. */
    public final double continuousS;

    /** Whether the window asks for a performance level that the device sustains. */
    public final boolean sustained;

    /** Of the device's thermal headroom at the beginning of a run. */
    public final double maxHeadroom;

    /** The longest wait for that; 0: none. */
    public final double coolS;

    public final Transfer transfer;
    public final Bounds bounds;

    /** Null: every timed run counts. */
    public final Gate gate;

    private Arguments(Values values) throws BadArguments {
        run = values.text("run", null);
        if (!run.matches("[0-9a-f]{1,64}")) {
            throw new BadArguments("run is " + run + ": give up to 64 digits and letters a to f");
        }
        model = values.path("model", values.text("model", null));
        inputs = values.paths("inputs");
        samples = values.count("samples", 0, 0);
        backend = values.backend();
        threads = values.count("threads", 1);
        cores = values.cores();
        precisionLoss = values.flag("precision_loss");
        programs = values.text("programs", "");
        if (!programs.matches("[0-9a-f]{0,64}")) {
            throw new BadArguments("programs is " + programs + ": give up to 64 digits and letters a to f");
        }
        continuousS = values.seconds("continuous_s", 0);
        sustained = values.flag("sustained");
        maxHeadroom = values.number("max_headroom", 0.7, 10, "give a number, at least 0");
        coolS = values.seconds("cool_s", 0);
        transfer = values.transfer();
        bounds =
                new Bounds(
                        values.count("warmup_min_runs", 5),
                        values.seconds("warmup_min_s", 0.5),
                        values.seconds("warmup_max_s", 10),
                        values.count("warmup_agreeing_runs", 20, 0),
                        values.share("warmup_tolerance", 0.04),
                        values.count("min_runs", 50),
                        values.seconds("min_s", 2),
                        values.seconds("max_s", 60),
                        values.count("few_runs", 5),
                        values.seconds("few_runs_max_s", 180));
        gate = values.gate();
    }

    /**
     * Reads arguments.
     *
     * @throws BadArguments a key is unknown or missing, or has an invalid value
     */
    public static Arguments of(Map<String, String> values) throws BadArguments {
        for (String key : values.keySet()) {
            if (!KEYS.contains(key)) {
                throw new BadArguments("There is no argument " + key);
            }
        }
        return new Arguments(new Values(values));
    }

    /**
     * Checks that the app may read the files, so that this is not reported as a failure of the runtime.
     *
     * @throws BadArguments one cannot be read
     */
    public void requireFiles() throws BadArguments {
        List<String> files = new ArrayList<>(inputs);
        files.add(0, model);
        if (gate != null) {
            files.add(gate.model);
        }
        for (String file : files) {
            try (FileInputStream stream = new FileInputStream(file)) {
                stream.read();
            } catch (IOException error) {
                throw new BadArguments(file + " cannot be read: " + error.getMessage());
            }
        }
    }

    /** Typed access to the text values. */
    private static final class Values {
        private final Map<String, String> values;

        Values(Map<String, String> values) {
            this.values = values;
        }

        String text(String key, String otherwise) throws BadArguments {
            String value = values.get(key);
            if (value == null) {
                value = otherwise;
            }
            if (value == null) {
                throw new BadArguments("The argument " + key + " is missing");
            }
            return value;
        }

        String path(String key, String path) throws BadArguments {
            if (!path.startsWith("/")) {
                throw new BadArguments(key + " is " + path + ": give the full path");
            }
            return path;
        }

        List<String> paths(String key) throws BadArguments {
            List<String> paths = new ArrayList<>();
            String text = text(key, null);
            if (!text.isEmpty()) {
                for (String path : text.split(",", -1)) {
                    paths.add(path(key, path));
                }
            }
            return Collections.unmodifiableList(paths);
        }

        List<Integer> cores() throws BadArguments {
            String text = text("cores", "");
            if (!text.matches("(\\d{1,4}(,\\d{1,4})*)?")) {
                throw new BadArguments("cores is " + text + ": give their numbers, such as 4,5");
            }
            return Collections.unmodifiableList(ProcText.cores(text));
        }

        Backend backend() throws BadArguments {
            String word = text("backend", null);
            for (Backend backend : Backend.values()) {
                if (backend.word.equals(word)) {
                    return backend;
                }
            }
            throw new BadArguments("backend is " + word + ": give cpu, gpu, npu or cpu-plain");
        }

        /** Returns the gate; null without an artifact for its canary. */
        Gate gate() throws BadArguments {
            String model = text("gate_model", "");
            if (model.isEmpty()) {
                return null;
            }
            return new Gate(
                    path("gate_model", model),
                    seconds("gate_slice_s", 0.04),
                    seconds("gate_canary_s", 0.004),
                    seconds("gate_learn_s", 3),
                    number("gate_limit", 0.08, 1e9, "give a number, at least 0"),
                    count("gate_fast_ns", 0, 0));
        }

        Transfer transfer() throws BadArguments {
            switch (text("transfer", "auto")) {
                case "auto":
                    return Transfer.AUTO;
                case "status":
                    return Transfer.STATUS;
                default:
                    throw new BadArguments("transfer is " + values.get("transfer") + ": give auto or status");
            }
        }

        boolean flag(String key) throws BadArguments {
            switch (text(key, "false")) {
                case "true":
                    return true;
                case "false":
                    return false;
                default:
                    throw new BadArguments(key + " is " + values.get(key) + ": give true or false");
            }
        }

        int count(String key, int otherwise) throws BadArguments {
            return count(key, otherwise, 1);
        }

        int count(String key, int otherwise, int least) throws BadArguments {
            String text = text(key, String.valueOf(otherwise));
            try {
                int value = Integer.parseInt(text);
                if (value >= least) {
                    return value;
                }
            } catch (NumberFormatException error) {
                // Falls through to the same message.
            }
            throw new BadArguments(key + " is " + text + ": give a whole number of at least " + least);
        }

        double seconds(String key, double otherwise) throws BadArguments {
            return number(key, otherwise, 1e6, "give seconds, at least 0");
        }

        double share(String key, double otherwise) throws BadArguments {
            return number(key, otherwise, 1, "give a share from 0 to 1");
        }

        private double number(String key, double otherwise, double most, String hint) throws BadArguments {
            String text = text(key, String.valueOf(otherwise));
            try {
                double value = Double.parseDouble(text);
                if (value >= 0 && value <= most) {
                    return value;
                }
            } catch (NumberFormatException error) {
                // Falls through to the same message.
            }
            throw new BadArguments(key + " is " + text + ": " + hint);
        }
    }
}
