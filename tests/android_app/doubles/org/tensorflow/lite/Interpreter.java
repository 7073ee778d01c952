package org.tensorflow.lite;

import java.io.File;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;

/** One input of four numbers, one output: their doubles. Logs what the real one logs if double.delegated says so. */
public final class Interpreter extends InterpreterImpl {
    private static final int NUMBERS = 4;

    private final ByteBuffer output = ByteBuffer.allocateDirect(4 * NUMBERS).order(ByteOrder.nativeOrder());

    public static class Options extends InterpreterImpl.Options {
        public Options setNumThreads(int threads) {
            return this;
        }

        public Options setUseXNNPACK(boolean use) {
            xnnpack = use;
            return this;
        }

        public Options addDelegate(Delegate delegate) {
            delegates.add(delegate);
            return this;
        }
    }

    public Interpreter(File model, Options options) {
        String delegated = System.getProperty("double.delegated");
        if (delegated != null && options.xnnpack == options.delegates.isEmpty()) {
            android.util.Log.i("tflite", delegated);
        }
    }

    public void allocateTensors() {}

    public void close() {}

    public int getInputTensorCount() {
        return 1;
    }

    public int getOutputTensorCount() {
        return 1;
    }

    public Tensor getInputTensor(int number) {
        return new Numbers("args_0", null);
    }

    public Tensor getOutputTensor(int number) {
        return new Numbers("output_0", output);
    }

    public Long getLastNativeInferenceDurationNanoseconds() {
        return 1_500_000L;
    }

    public void runForMultipleInputsOutputs(Object[] inputs, Map<Integer, Object> outputs) {
        ByteBuffer input = ((ByteBuffer) inputs[0]).order(ByteOrder.nativeOrder());
        if (!input.isDirect() || input.position() != 0 || input.remaining() != 4 * NUMBERS) {
            throw new IllegalArgumentException("the input is not a whole, rewound, direct buffer");
        }
        for (int index = 0; index < NUMBERS; index++) {
            output.putFloat(4 * index, 2 * input.getFloat(4 * index));
        }
    }

    private static final class Numbers implements Tensor {
        private final String name;
        private final ByteBuffer bytes;

        Numbers(String name, ByteBuffer bytes) {
            this.name = name;
            this.bytes = bytes;
        }

        @Override
        public DataType dataType() {
            return DataType.FLOAT32;
        }

        @Override
        public int numDimensions() {
            return 2;
        }

        @Override
        public int numBytes() {
            return 4 * NUMBERS;
        }

        @Override
        public int numElements() {
            return NUMBERS;
        }

        @Override
        public int[] shape() {
            return new int[] {1, NUMBERS};
        }

        @Override
        public int[] shapeSignature() {
            return shape();
        }

        @Override
        public int index() {
            return 0;
        }

        @Override
        public String name() {
            return name;
        }

        @Override
        public QuantizationParams quantizationParams() {
            return new QuantizationParams(0, 0);
        }

        @Override
        public ByteBuffer asReadOnlyBuffer() {
            return bytes.asReadOnlyBuffer();
        }
    }
}
