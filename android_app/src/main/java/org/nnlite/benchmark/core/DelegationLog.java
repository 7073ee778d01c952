package org.nnlite.benchmark.core;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What the runtime wrote into the process's log while it applied delegates. The app brackets the initialization by two
 * lines of its own: where both can be read, no line between them is missing.
 */
public final class DelegationLog {
    /** The wording of TensorFlow Lite 2.16.1; a test looks for it in the library that is packed. */
    private static final Pattern REPLACING =
            Pattern.compile(
                    "Replacing (\\d+) out of (\\d+) node\\(s\\) with delegate \\(([^)]*)\\) node,"
                            + " yielding (\\d+) partitions");

    private boolean begins;
    private boolean ends;
    private String delegate;
    private int delegated;
    private int total;
    private int partitions;

    private DelegationLog() {}

    /** The line that the app writes before it initializes. */
    public static String beginLine(String run) {
        return "run " + run + " initializes";
    }

    /** The line that the app writes when it has initialized. */
    public static String endLine(String run) {
        return "run " + run + " is initialized";
    }

    /** Reads the log of a process, which may have more in each line than the messages themselves. */
    public static DelegationLog read(Iterable<String> lines, String run, Backend backend) {
        DelegationLog log = new DelegationLog();
        for (String line : lines) {
            log.begins |= line.endsWith(beginLine(run));
            log.ends |= line.endsWith(endLine(run));
            Matcher match = REPLACING.matcher(line);
            if (match.find() && isOf(backend, match.group(3))) {
                log.delegate = match.group(3);
                log.delegated += Integer.parseInt(match.group(1));
                log.total += Integer.parseInt(match.group(2));
                log.partitions += Integer.parseInt(match.group(4));
            }
        }
        return log;
    }

    /** Whether every line from before the initialization to its end was read. */
    public boolean isComplete() {
        return begins && ends;
    }

    /** Whether the initialization's end was read: nothing more can come. */
    public boolean isEnded() {
        return ends;
    }

    /** Returns the count, over all subgraphs; null if there was no line. */
    public Delegation delegation() {
        return delegate == null
                ? null
                : new Delegation(delegate, delegated, total, partitions, Delegation.Source.LOG);
    }

    /** The delegate of gpu and npu may have another name in another runtime; XNNPACK is never theirs. */
    private static boolean isOf(Backend backend, String delegate) {
        return Backend.CPU.delegate.equals(delegate) == (backend == Backend.CPU);
    }
}
