package org.nnlite.benchmark;

import android.app.Instrumentation;

/** Runs one benchmark. */
public final class BenchmarkInstrumentation extends Instrumentation {
}
