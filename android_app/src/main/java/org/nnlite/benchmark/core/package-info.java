/**
 * What a benchmark run is: its arguments, the measurement protocol, statistics, and the report. Nothing here may use
 * {@code android.*}, so that the JVM can test all of it; what Android has to do stands behind {@link
 * org.nnlite.benchmark.core.Engine} and {@link org.nnlite.benchmark.core.Surroundings}.
 */
package org.nnlite.benchmark.core;
