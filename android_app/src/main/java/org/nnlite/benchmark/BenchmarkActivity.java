package org.nnlite.benchmark;

import android.app.Activity;

/** Stays on screen and says what runs. */
public final class BenchmarkActivity extends Activity {
}
