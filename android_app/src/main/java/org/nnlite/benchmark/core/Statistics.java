package org.nnlite.benchmark.core;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Statistics over all samples of a run, nanoseconds rounded to integers, halves to even. They equal the host's ({@code
 * workers/nnlite_benchmark/protocol/analysis/statistics.py}): percentiles interpolate linearly as in NumPy, slices are those of
 * {@code numpy.array_split}.
 */
public final class Statistics {
    /** Makes the median absolute deviation of a normal distribution its standard deviation. */
    private static final double MAD_SCALE = 1.4826;

    private static final int SLICES = 10;

    /** Fewest samples for the drift between slices. */
    private static final int MIN_SLICED = 50;

    private final long[] samples;
    private final double[] sorted;

    private Statistics(long[] samples) {
        this.samples = samples;
        this.sorted = sorted(samples, 0, samples.length);
    }

    /** Returns the statistics of at least one sample, as in reports; null: too few samples. */
    public static Map<String, Object> summarize(long[] samples) {
        return new Statistics(samples).summarize();
    }

    private Map<String, Object> summarize() {
        MedianInterval interval = MedianInterval.of(samples, sorted, median(sorted));
        double mean = mean();
        double std = std(mean);
        Map<String, Object> latency = new LinkedHashMap<>();
        latency.put("mean_ns", round(mean));
        latency.put("median_ns", round(median(sorted)));
        latency.put("median_low_ns", interval == null ? null : interval.lowNs);
        latency.put("median_high_ns", interval == null ? null : interval.highNs);
        latency.put("p90_ns", percentile(90, 64));
        latency.put("p95_ns", percentile(95, 130));
        latency.put("p99_ns", percentile(99, 662));
        latency.put("min_ns", round(sorted[0]));
        latency.put("max_ns", round(sorted[sorted.length - 1]));
        latency.put("std_ns", round(std));
        latency.put("cv", mean > 0 ? std / mean : 0.0);
        latency.put("mad_ratio", madRatio());
        latency.put("slice_drift", samples.length >= MIN_SLICED ? sliceDrift() : null);
        return latency;
    }

    private double mean() {
        long sum = 0;
        for (long sample : samples) {
            sum += sample;
        }
        return (double) sum / samples.length;
    }

    private double std(double mean) {
        double sum = 0;
        for (long sample : samples) {
            sum += (sample - mean) * (sample - mean);
        }
        return Math.sqrt(sum / samples.length);
    }

    /** Returns a percentile; null with fewer samples than {@code least}, MLPerf's number for it. */
    private Long percentile(double percent, int least) {
        return samples.length < least ? null : (Long) round(percentile(percent));
    }

    private double percentile(double percent) {
        double position = (sorted.length - 1) * (percent / 100);
        int below = (int) Math.floor(position);
        int above = Math.min(below + 1, sorted.length - 1);
        double part = position - below;
        double step = sorted[above] - sorted[below];
        // NumPy interpolates from the nearer end.
        return part < 0.5 ? sorted[below] + step * part : sorted[above] - step * (1 - part);
    }

    private double madRatio() {
        double median = median(sorted);
        double[] deviations = new double[sorted.length];
        for (int index = 0; index < sorted.length; index++) {
            deviations[index] = Math.abs(sorted[index] - median);
        }
        Arrays.sort(deviations);
        return median > 0 ? MAD_SCALE * median(deviations) / median : 0.0;
    }

    private double sliceDrift() {
        double least = Double.POSITIVE_INFINITY;
        double most = Double.NEGATIVE_INFINITY;
        int begin = 0;
        for (int slice = 0; slice < SLICES; slice++) {
            int end = begin + samples.length / SLICES + (slice < samples.length % SLICES ? 1 : 0);
            double median = median(sorted(samples, begin, end));
            least = Math.min(least, median);
            most = Math.max(most, median);
            begin = end;
        }
        double median = median(sorted);
        return median > 0 ? (most - least) / median : 0.0;
    }

    private static double[] sorted(long[] samples, int begin, int end) {
        double[] values = new double[end - begin];
        for (int index = begin; index < end; index++) {
            values[index - begin] = samples[index];
        }
        Arrays.sort(values);
        return values;
    }

    private static double median(double[] sorted) {
        int middle = sorted.length / 2;
        return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    private static long round(double value) {
        return (long) Math.rint(value);
    }
}
