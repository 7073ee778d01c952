package org.nnlite.benchmark.core;

import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;

/** Transfers a run's files to the host: in a folder of this run, or as chunks in status messages. */
public final class Delivery {
    /** Raw bytes of one chunk: well below the limit of a binder transaction, also as base64. */
    public static final int PIECE_BYTES = 48 * 1024;

    private Delivery() {}

    /** Receives the chunks of a file, in order. */
    public interface Pieces {
        /**
         * @param piece from 0
         * @param data base64
         */
        void send(String file, int piece, int pieces, String data);
    }

    /**
     * Writes the files into a new folder; each appears atomically under its name.
     *
     * @throws IOException a file cannot be written; no file is left
     */
    public static void write(List<RunFile> files, File folder) throws IOException {
        if (!folder.isDirectory() && !folder.mkdirs()) {
            throw new IOException("The folder " + folder + " cannot be made");
        }
        try {
            for (RunFile file : files) {
                write(file, folder);
            }
        } catch (IOException error) {
            remove(folder);
            throw error;
        }
    }

    /** Sends the files as chunks; an empty file is one empty chunk. */
    public static void send(List<RunFile> files, Pieces pieces) {
        for (RunFile file : files) {
            int count = Math.max(1, (file.bytes.length + PIECE_BYTES - 1) / PIECE_BYTES);
            for (int piece = 0; piece < count; piece++) {
                int begin = piece * PIECE_BYTES;
                int end = Math.min(file.bytes.length, begin + PIECE_BYTES);
                byte[] raw = Arrays.copyOfRange(file.bytes, begin, end);
                pieces.send(file.name, piece, count, Base64.getEncoder().encodeToString(raw));
            }
        }
    }

    private static void write(RunFile file, File folder) throws IOException {
        File unfinished = new File(folder, file.name + ".unfinished");
        try (FileOutputStream stream = new FileOutputStream(unfinished)) {
            stream.write(file.bytes);
            stream.getFD().sync();
        }
        if (!unfinished.renameTo(new File(folder, file.name))) {
            throw new IOException(unfinished + " cannot be renamed");
        }
    }

    private static void remove(File folder) {
        File[] files = folder.listFiles();
        if (files != null) {
            for (File file : files) {
                file.delete();
            }
        }
        folder.delete();
    }
}
