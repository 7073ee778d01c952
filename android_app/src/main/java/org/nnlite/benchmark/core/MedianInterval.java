package org.nnlite.benchmark.core;

/**
 * 95 % interval of the median of samples that depend on each other in time; the same steps in the same order as the
 * host's, {@code workers/nnlite_benchmark/protocol/analysis/interval.py}, which explains them.
 */
final class MedianInterval {
    private static final double Z = 1.96;
    private static final int MAX_BLOCKS = 20;
    private static final int MIN_SAMPLES = 30;

    final long lowNs;
    final long highNs;

    private MedianInterval(long lowNs, long highNs) {
        this.lowNs = lowNs;
        this.highNs = highNs;
    }

    /** Returns the interval; null: too few samples for it. */
    static MedianInterval of(long[] samples, double[] sorted, double median) {
        int size = samples.length;
        if (size < MIN_SAMPLES) {
            return null;
        }
        double independent = Z * Math.sqrt(size) / 2;
        double dependent = size * shareError(shares(samples, median));
        int lower = (int) Math.floor(size / 2.0 + 1 - Math.max(independent, dependent));
        return lower < 1 ? null : new MedianInterval((long) sorted[lower - 1], (long) sorted[size - lower]);
    }

    /** Returns the share of samples not above the median in each block. */
    private static double[] shares(long[] samples, double median) {
        double[] shares = new double[Math.min(MAX_BLOCKS, (int) Math.sqrt(samples.length))];
        int begin = 0;
        for (int block = 0; block < shares.length; block++) {
            int end = begin + samples.length / shares.length + (block < samples.length % shares.length ? 1 : 0);
            int notAbove = 0;
            for (int index = begin; index < end; index++) {
                notAbove += samples[index] <= median ? 1 : 0;
            }
            shares[block] = (double) notAbove / (end - begin);
            begin = end;
        }
        return shares;
    }

    private static double shareError(double[] shares) {
        int freedom = shares.length - 1;
        double mean = 0;
        for (double share : shares) {
            mean += share;
        }
        mean /= shares.length;
        double squares = 0;
        for (double share : shares) {
            squares += (share - mean) * (share - mean);
        }
        return student(freedom) * Math.sqrt(squares / freedom / shares.length);
    }

    private static double student(int freedom) {
        double z2 = Z * Z;
        double first = Z * (z2 + 1) / 4;
        double second = Z * (5 * z2 * z2 + 16 * z2 + 3) / 96;
        return Z + first / freedom + second / (freedom * freedom);
    }
}
