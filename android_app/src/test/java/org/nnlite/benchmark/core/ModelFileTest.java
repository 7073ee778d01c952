package org.nnlite.benchmark.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNull;

import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

import java.io.File;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.util.Random;

/** Equality with the runtime's count for real artifacts is tested in Python. */
public final class ModelFileTest {
    @Rule public final TemporaryFolder folder = new TemporaryFolder();

    @Test
    public void theSmallestModelThatHasAGraphHasNoOperators() {
        // Root offset, vtable of the model (subgraphs only), model, vector of one, vtable and table of the graph.
        ByteBuffer bytes = ByteBuffer.allocate(44).order(java.nio.ByteOrder.LITTLE_ENDIAN);
        bytes.putInt(0, 16);
        bytes.putShort(4, (short) 10).putShort(6, (short) 8).putShort(12, (short) 4);
        bytes.putInt(16, 12).putInt(20, 4).putInt(24, 1).putInt(28, 8);
        bytes.putShort(32, (short) 4).putShort(34, (short) 4).putInt(36, 4);

        assertEquals(Integer.valueOf(0), ModelFile.operators(bytes));
    }

    @Test
    public void whatIsNoModelHasNoCount() throws Exception {
        assertNull(ModelFile.operators(ByteBuffer.allocate(0)));
        assertNull(ModelFile.operators(ByteBuffer.allocate(3)));
        Random random = new Random(3);
        for (int round = 0; round < 200; round++) {
            byte[] garbage = new byte[64];
            random.nextBytes(garbage);
            garbage[3] = 0x7f;
            assertNull(ModelFile.operators(ByteBuffer.wrap(garbage)));
        }
        File empty = folder.newFile();
        Files.write(empty.toPath(), new byte[0]);
        assertNull(ModelFile.operators(empty.getPath()));
    }
}
