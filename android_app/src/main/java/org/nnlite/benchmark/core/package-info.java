/**
 * Platform-independent part of a run: arguments, measurement protocol, statistics, report. Nothing here may use
 * {@code android.*}, so that the JVM can test all of it; Android's part is behind {@link
 * org.nnlite.benchmark.core.Engine} and {@link org.nnlite.benchmark.core.Surroundings}.
 */
package org.nnlite.benchmark.core;
