package org.nnlite.benchmark.core;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;

/**
 * Parses the number of operators in an artifact's main graph. A .tflite file is a
 * FlatBuffer; the fields are those of TensorFlow Lite's schema
 * (https://github.com/tensorflow/tensorflow/blob/v2.16.1/tensorflow/lite/schema/schema.fbs).
 */
public final class ModelFile {
    private static final int MODEL_SUBGRAPHS = 2;
    private static final int SUBGRAPH_OPERATORS = 3;

    private final ByteBuffer bytes;

    private ModelFile(ByteBuffer bytes) {
        this.bytes = bytes.order(ByteOrder.LITTLE_ENDIAN);
    }

    /** Returns the number of operators in the main graph; null if the file cannot be parsed. */
    public static Integer operators(String path) throws IOException {
        try (RandomAccessFile file = new RandomAccessFile(path, "r")) {
            FileChannel channel = file.getChannel();
            return operators(channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size()));
        }
    }

    static Integer operators(ByteBuffer bytes) {
        try {
            return new ModelFile(bytes).mainOperators();
        } catch (IndexOutOfBoundsException error) {
            return null;
        }
    }

    private Integer mainOperators() {
        Integer subgraphs = field(follow(0), MODEL_SUBGRAPHS);
        if (subgraphs == null || bytes.getInt(subgraphs) < 1) {
            return null;
        }
        Integer operators = field(follow(subgraphs + 4), SUBGRAPH_OPERATORS);
        return operators == null ? 0 : bytes.getInt(operators);
    }

    /** Returns the offset of the vector (its length) in a table's field; null if the field is missing. */
    private Integer field(int table, int number) {
        int fields = table - bytes.getInt(table);
        int entry = 4 + 2 * number;
        if (entry >= bytes.getShort(fields)) {
            return null;
        }
        int offset = bytes.getShort(fields + entry) & 0xffff;
        return offset == 0 ? null : Integer.valueOf(follow(table + offset));
    }

    private int follow(int position) {
        return position + bytes.getInt(position);
    }
}
