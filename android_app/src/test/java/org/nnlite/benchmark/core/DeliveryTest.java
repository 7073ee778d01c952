package org.nnlite.benchmark.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertThrows;

import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Random;

public final class DeliveryTest {
    @Rule public final TemporaryFolder folder = new TemporaryFolder();

    @Test
    public void filesLieWholeInAFolderOfTheirOwn() throws IOException {
        File place = new File(folder.getRoot(), "media/0123abcd");

        Delivery.write(Arrays.asList(new RunFile("output_0.raw", new byte[] {1, 2, 3})), place);

        assertArrayEquals(new String[] {"output_0.raw"}, place.list());
        assertArrayEquals(new byte[] {1, 2, 3}, Files.readAllBytes(new File(place, "output_0.raw").toPath()));
    }

    @Test
    public void nothingIsLeftWhereAFileCannotBeWritten() throws IOException {
        File place = new File(folder.getRoot(), "0123abcd");
        RunFile good = new RunFile("output_0.raw", new byte[] {1});
        RunFile bad = new RunFile("no/such/folder.raw", new byte[] {1});

        assertThrows(IOException.class, () -> Delivery.write(Arrays.asList(good, bad), place));

        assertFalse(place.exists());
    }

    @Test
    public void aFolderThatCannotBeMadeIsAnError() throws IOException {
        File occupied = folder.newFile("media");

        assertThrows(IOException.class, () -> Delivery.write(new ArrayList<>(), new File(occupied, "0123abcd")));
    }

    @Test
    public void piecesMakeTheFileAgain() throws IOException {
        byte[] bytes = new byte[2 * Delivery.PIECE_BYTES + 5];
        new Random(1).nextBytes(bytes);
        List<String> heard = new ArrayList<>();
        ByteArrayOutputStream again = new ByteArrayOutputStream();

        Delivery.send(Arrays.asList(new RunFile("samples.z", bytes)), (file, piece, pieces, data) -> {
            heard.add(file + " " + piece + "/" + pieces);
            byte[] raw = Base64.getDecoder().decode(data);
            again.write(raw, 0, raw.length);
        });

        assertEquals(Arrays.asList("samples.z 0/3", "samples.z 1/3", "samples.z 2/3"), heard);
        assertArrayEquals(bytes, again.toByteArray());
    }

    @Test
    public void anEmptyFileIsOneEmptyPiece() {
        List<String> heard = new ArrayList<>();

        Delivery.send(
                Arrays.asList(new RunFile("output_0.raw", new byte[0])),
                (file, piece, pieces, data) -> heard.add(piece + "/" + pieces + data));

        assertEquals(Arrays.asList("0/1"), heard);
    }
}
