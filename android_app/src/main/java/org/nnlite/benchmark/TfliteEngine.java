package org.nnlite.benchmark;

import android.os.Build;

import org.nnlite.benchmark.core.Arguments;
import org.nnlite.benchmark.core.Backend;
import org.nnlite.benchmark.core.Delegation;
import org.nnlite.benchmark.core.DelegationCount;
import org.nnlite.benchmark.core.DelegationLog;
import org.nnlite.benchmark.core.Engine;
import org.nnlite.benchmark.core.ModelFile;
import org.nnlite.benchmark.core.Output;
import org.nnlite.benchmark.core.Protocol;
import org.nnlite.benchmark.core.Refused;
import org.nnlite.benchmark.core.RuntimeMessages;
import org.tensorflow.lite.Delegate;
import org.tensorflow.lite.Interpreter;
import org.tensorflow.lite.Tensor;
import org.tensorflow.lite.TensorFlowLite;
import org.tensorflow.lite.gpu.GpuDelegate;
import org.tensorflow.lite.gpu.GpuDelegateFactory;
import org.tensorflow.lite.nnapi.NnApiDelegate;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** TensorFlow Lite with one artifact on one backend, without fallback to another backend. */
final class TfliteEngine implements Engine {
    /** The first API level with NNAPI. */
    private static final int NNAPI_LEVEL = 27;

    /** As on the host; any will do. */
    private static final float CANARY_INPUT = 0.5f;

    /** Outputs are read from the tensors at the end, so that the runtime copies none after each run. */
    private static final Map<Integer, Object> NO_OUTPUTS = Collections.emptyMap();

    private final Arguments arguments;
    private final File scratch;
    private Interpreter interpreter;
    private Delegate delegate;
    private NnApiDelegate nnapi;
    /** The input files, each with one sample or several. */
    private ByteBuffer[] given;
    /** The sample of each that is run. */
    private ByteBuffer[] inputs;

    /**
     * @param scratch a folder for small temporary files
     */
    TfliteEngine(Arguments arguments, File scratch) {
        this.arguments = arguments;
        this.scratch = scratch;
    }

    @Override
    public void open() throws Refused {
        OwnLog.write(DelegationLog.beginLine(arguments.run));
        try {
            interpreter = new Interpreter(new File(arguments.model), options());
            interpreter.allocateTensors();
        } catch (RuntimeException | LinkageError error) {
            throw new Refused(error);
        } finally {
            OwnLog.write(DelegationLog.endLine(arguments.run));
        }
    }

    @Override
    public void fill() throws Refused {
        int wanted = interpreter.getInputTensorCount();
        if (wanted != arguments.inputs.size()) {
            throw new Refused(
                    Refused.By.RUNTIME,
                    "the artifact has " + wanted + " inputs, " + arguments.inputs.size() + " were given");
        }
        given = new ByteBuffer[wanted];
        inputs = new ByteBuffer[wanted];
        for (int number = 0; number < wanted; number++) {
            given[number] = read(interpreter.getInputTensor(number), arguments.inputs.get(number));
        }
        choose(0);
    }

    /** Has the next runs take this sample of each input file. */
    private void choose(int sample) {
        for (int number = 0; number < given.length; number++) {
            int bytes = interpreter.getInputTensor(number).numBytes();
            ByteBuffer file = given[number].duplicate();
            file.limit((sample + 1) * bytes);
            file.position(sample * bytes);
            // The runtime takes buffers of exactly a tensor's size.
            inputs[number] = file.slice();
        }
    }

    @Override
    public long invoke() throws Refused {
        for (ByteBuffer input : inputs) {
            input.rewind();
        }
        try {
            interpreter.runForMultipleInputsOutputs(inputs, NO_OUTPUTS);
            return interpreter.getLastNativeInferenceDurationNanoseconds();
        } catch (RuntimeException error) {
            throw new Refused(error);
        }
    }

    @Override
    public Protocol.Inference canary(String model) throws Refused {
        Interpreter.Options options = new Interpreter.Options();
        options.setNumThreads(arguments.threads);
        options.setUseXNNPACK(true);
        try {
            Interpreter canary = new Interpreter(new File(model), options);
            canary.allocateTensors();
            int bytes = canary.getInputTensor(0).numBytes();
            ByteBuffer input = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
            while (input.hasRemaining()) {
                input.putFloat(CANARY_INPUT);
            }
            Object[] inputs = {input};
            return () -> {
                input.rewind();
                canary.runForMultipleInputsOutputs(inputs, NO_OUTPUTS);
                return canary.getLastNativeInferenceDurationNanoseconds();
            };
        } catch (RuntimeException error) {
            throw new Refused(error);
        }
    }

    @Override
    public Delegation delegation() {
        Integer operators = null;
        try {
            operators = ModelFile.operators(arguments.model);
        } catch (IOException error) {
            OwnLog.writeError(arguments.model + " cannot be read: " + error);
        }
        DelegationLog log = OwnLog.read(arguments.run, arguments.backend, scratch);
        return DelegationCount.of(arguments.backend, log, operators, planLength());
    }

    /**
     * The runtime keeps 512 bytes of messages, which only the text of an exception has: one is provoked, by a size that
     * the first input cannot have. It changes nothing.
     */
    @Override
    public String messages() {
        boolean hasInput = interpreter.getInputTensorCount() > 0;
        int[] size = hasInput ? interpreter.getInputTensor(0).shapeSignature() : new int[0];
        if (size.length == 0 || Arrays.stream(size).anyMatch(length -> length < 0)) {
            return null;
        }
        size[0]++;
        try {
            interpreter.resizeInput(0, size, true);
            return null;
        } catch (RuntimeException error) {
            return RuntimeMessages.ofInitialization(error.getMessage());
        }
    }

    @Override
    public Integer nnapiErrno() {
        return nnapi == null ? null : nnapi.getNnapiErrno();
    }

    @Override
    public List<Output> outputs() throws Refused {
        if (arguments.samples > 0) {
            return Collections.singletonList(firstOutputs());
        }
        try {
            List<Output> outputs = new ArrayList<>();
            for (int number = 0; number < interpreter.getOutputTensorCount(); number++) {
                Tensor tensor = interpreter.getOutputTensor(number);
                outputs.add(output(number, tensor, tensor.shape(), bytes(tensor)));
            }
            return outputs;
        } catch (RuntimeException error) {
            throw new Refused(error);
        }
    }

    /** Runs every sample; returns their first outputs as one, with the samples as its first dimension. */
    private Output firstOutputs() throws Refused {
        Tensor tensor = interpreter.getOutputTensor(0);
        ByteBuffer all = ByteBuffer.allocate(Math.multiplyExact(arguments.samples, tensor.numBytes()));
        for (int sample = 0; sample < arguments.samples; sample++) {
            choose(sample);
            invoke();
            all.put(bytes(tensor));
        }
        int[] shape = new int[tensor.shape().length + 1];
        shape[0] = arguments.samples;
        System.arraycopy(tensor.shape(), 0, shape, 1, shape.length - 1);
        return output(0, tensor, shape, all.array());
    }

    @Override
    public String version() {
        return TensorFlowLite.runtimeVersion();
    }

    /** Only the backend cpu runs with XNNPACK: its nodes must not be counted as those of GPU and NPU. */
    private Interpreter.Options options() throws Refused {
        Interpreter.Options options = new Interpreter.Options();
        options.setNumThreads(arguments.threads);
        options.setUseXNNPACK(arguments.backend == Backend.CPU);
        switch (arguments.backend) {
            case GPU:
                delegate = gpu();
                break;
            case NPU:
                nnapi = nnapi();
                delegate = nnapi;
                break;
            default:
                return options;
        }
        options.addDelegate(delegate);
        return options;
    }

    private GpuDelegate gpu() {
        GpuDelegateFactory.Options options = new GpuDelegateFactory.Options();
        options.setPrecisionLossAllowed(arguments.precisionLoss);
        if (!arguments.programs.isEmpty()) {
            options.setSerializationParams(programsFolder().getPath(), arguments.programs);
        }
        return new GpuDelegate(options);
    }

    /** Returns the folder of the delegate's programs, which it makes; removes those of other names. */
    private File programsFolder() {
        File all = new File(scratch, "gpu_programs");
        File folder = new File(all, arguments.programs);
        folder.mkdirs();
        for (File other : files(all)) {
            if (!other.equals(folder)) {
                for (File file : files(other)) {
                    file.delete();
                }
                other.delete();
            }
        }
        return folder;
    }

    private static File[] files(File folder) {
        File[] files = folder.listFiles();
        return files == null ? new File[0] : files;
    }

    private static NnApiDelegate nnapi() throws Refused {
        if (Build.VERSION.SDK_INT < NNAPI_LEVEL) {
            throw new Refused(
                    Refused.By.RUNTIME,
                    "NNAPI needs API level " + NNAPI_LEVEL + ", this device has " + Build.VERSION.SDK_INT);
        }
        NnApiDelegate.Options options = new NnApiDelegate.Options();
        // NNAPI's CPU implementation would be counted as an accelerator.
        options.setUseNnapiCpu(false);
        return new NnApiDelegate(options);
    }

    private ByteBuffer read(Tensor tensor, String file) throws Refused {
        long wanted = (long) tensor.numBytes() * Math.max(arguments.samples, 1);
        try (FileInputStream stream = new FileInputStream(file)) {
            FileChannel channel = stream.getChannel();
            if (channel.size() != wanted) {
                throw new Refused(
                        Refused.By.RUNTIME,
                        "input " + tensor.name() + " is " + dtype(tensor) + " " + Arrays.toString(tensor.shape())
                                + ", " + wanted + " bytes; " + channel.size() + " were given");
            }
            ByteBuffer bytes = ByteBuffer.allocateDirect(Math.toIntExact(wanted));
            while (bytes.hasRemaining() && channel.read(bytes) >= 0) {
                // Continue: one call may not read everything.
            }
            return bytes;
        } catch (IOException error) {
            throw new IllegalStateException(file + " cannot be read any more", error);
        }
    }

    private static byte[] bytes(Tensor tensor) {
        ByteBuffer view = tensor.asReadOnlyBuffer();
        view.rewind();
        byte[] bytes = new byte[tensor.numBytes()];
        view.get(bytes);
        return bytes;
    }

    private static Output output(int number, Tensor tensor, int[] shape, byte[] bytes) {
        Tensor.QuantizationParams quantization = tensor.quantizationParams();
        return new Output(
                number,
                tensor.name(),
                dtype(tensor),
                shape,
                quantization.getScale(),
                quantization.getZeroPoint(),
                bytes);
    }

    /** NumPy's names are the runtime's in lower case; Android is always little-endian. */
    private static String dtype(Tensor tensor) {
        return tensor.dataType().name().toLowerCase(Locale.ROOT);
    }

    /** Returns the length of the runtime's graph, by a non-public method. */
    private Integer planLength() {
        try {
            Method method = Interpreter.class.getSuperclass().getDeclaredMethod("getExecutionPlanLength");
            method.setAccessible(true);
            return (Integer) method.invoke(interpreter);
        } catch (ReflectiveOperationException | RuntimeException error) {
            return null;
        }
    }
}
