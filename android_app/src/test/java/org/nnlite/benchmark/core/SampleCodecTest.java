package org.nnlite.benchmark.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;

import org.junit.Test;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Random;
import java.util.zip.InflaterInputStream;

public final class SampleCodecTest {
    @Test
    public void samplesComeBackAsTheyWere() throws IOException {
        long[] samples = noise(1_000);

        SampleCodec.Encoded encoded = SampleCodec.encode(samples, SampleCodec.LIMIT);

        assertTrue(encoded.complete);
        assertArrayEquals(samples, decode(encoded.bytes));
    }

    @Test
    public void tooManySamplesAreThinnedEvenlyUntilTheyFit() throws IOException {
        long[] samples = noise(400_000);

        SampleCodec.Encoded encoded = SampleCodec.encode(samples, SampleCodec.LIMIT);

        long[] kept = decode(encoded.bytes);
        assertFalse(encoded.complete);
        assertTrue(encoded.bytes.length + " bytes", encoded.bytes.length <= SampleCodec.LIMIT);
        assertTrue(encoded.bytes.length + " bytes", encoded.bytes.length > SampleCodec.LIMIT * 0.9);
        assertEquals(samples[0], kept[0]);
        assertArrayEquals(SampleCodec.thin(samples, kept.length), kept);
    }

    @Test
    public void thinningKeepsOrderAndSpread() {
        long[] samples = new long[10];
        Arrays.setAll(samples, index -> index);

        assertArrayEquals(new long[] {0, 2, 5, 7}, SampleCodec.thin(samples, 4));
    }

    private static long[] noise(int count) {
        Random random = new Random(1);
        long[] samples = new long[count];
        Arrays.setAll(samples, index -> 50_000 + random.nextInt(4_000_000));
        return samples;
    }

    private static long[] decode(byte[] compressed) throws IOException {
        ByteArrayOutputStream raw = new ByteArrayOutputStream();
        try (InflaterInputStream inflater = new InflaterInputStream(new ByteArrayInputStream(compressed))) {
            byte[] part = new byte[8192];
            for (int read = inflater.read(part); read >= 0; read = inflater.read(part)) {
                raw.write(part, 0, read);
            }
        }
        long[] samples = new long[raw.size() / 8];
        ByteBuffer.wrap(raw.toByteArray()).order(ByteOrder.LITTLE_ENDIAN).asLongBuffer().get(samples);
        return samples;
    }
}
