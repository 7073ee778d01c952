package org.nnlite.benchmark.core;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Parses the runtime's log lines about delegates. The app writes one line before and one after the
 * initialization: if both can be read, no line between them is missing.
 */
public final class DelegationLog {
    /** The message of TensorFlow Lite 2.16.1; a test searches it in the packed library. */
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

    /** The line that the app writes before the initialization. */
    public static String beginLine(String run) {
        return "run " + run + " initializes";
    }

    /** The line that the app writes after the initialization. */
    public static String endLine(String run) {
        return "run " + run + " is initialized";
    }

    /** Parses the log of a process; its lines may have prefixes. */
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

    /** Whether all lines from the beginning of the initialization to its end were read. */
    public boolean isComplete() {
        return begins && ends;
    }

    /** Whether the end of the initialization was read: no more lines follow. */
    public boolean isEnded() {
        return ends;
    }

    /** Returns the count, over all subgraphs; null if there was no line. */
    public Delegation delegation() {
        return delegate == null
                ? null
                : new Delegation(delegate, delegated, total, partitions, Delegation.Source.LOG);
    }

    /** The delegates of gpu and npu may have other names in other runtimes, but are never XNNPACK. */
    private static boolean isOf(Backend backend, String delegate) {
        return Backend.CPU.delegate.equals(delegate) == (backend == Backend.CPU);
    }
}
