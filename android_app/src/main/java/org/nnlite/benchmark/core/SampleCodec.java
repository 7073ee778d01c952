package org.nnlite.benchmark.core;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.zip.DeflaterOutputStream;

/** Encodes samples for reports: zlib of little-endian int64, thinned if they are too large. */
public final class SampleCodec {
    /** Compressed samples below this size are part of the report itself, bytes. */
    public static final int INLINE_LIMIT = 32 * 1024;

    /** Size limit of compressed samples, bytes. */
    public static final int LIMIT = 1024 * 1024;

    private SampleCodec() {}

    /** Compressed samples. */
    public static final class Encoded {
        public final byte[] bytes;

        /** Whether all samples are included. */
        public final boolean complete;

        Encoded(byte[] bytes, boolean complete) {
            this.bytes = bytes;
            this.complete = complete;
        }
    }

    /** Compresses the samples; above {@code limit} bytes only as many as fit, evenly chosen. */
    public static Encoded encode(long[] samples, int limit) {
        byte[] bytes = deflate(samples);
        boolean complete = true;
        int kept = samples.length;
        while (bytes.length > limit && kept > 1) {
            complete = false;
            // Slightly fewer than would fit at the same compression ratio, so that few rounds are needed.
            kept = Math.max(1, (int) Math.min(kept - 1.0, 0.98 * kept * limit / bytes.length));
            bytes = deflate(thin(samples, kept));
        }
        return new Encoded(bytes, complete);
    }

    /** Returns {@code kept} of the samples, evenly spread, in order. */
    static long[] thin(long[] samples, int kept) {
        long[] chosen = new long[kept];
        for (int index = 0; index < kept; index++) {
            chosen[index] = samples[(int) ((long) index * samples.length / kept)];
        }
        return chosen;
    }

    private static byte[] deflate(long[] samples) {
        ByteBuffer raw = ByteBuffer.allocate(8 * samples.length).order(ByteOrder.LITTLE_ENDIAN);
        raw.asLongBuffer().put(samples);
        ByteArrayOutputStream compressed = new ByteArrayOutputStream();
        try (DeflaterOutputStream deflater = new DeflaterOutputStream(compressed)) {
            deflater.write(raw.array());
        } catch (IOException error) {
            throw new IllegalStateException("memory cannot be written", error);
        }
        return compressed.toByteArray();
    }
}
