package org.nnlite.benchmark.core;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** One output tensor with its bytes, raw and little-endian. */
public final class Output {
    private final String name;
    private final String dtype;
    private final List<Integer> shape = new ArrayList<>();
    private final Double scale;
    private final Integer zeroPoint;

    /** The tensor's bytes, as a file. */
    public final RunFile file;

    /**
     * @param number index of the output in the artifact
     * @param dtype NumPy's name
     * @param scale quantization: value = scale x (integer - zeroPoint); 0: not quantized
     */
    public Output(int number, String name, String dtype, int[] shape, float scale, int zeroPoint, byte[] bytes) {
        this.name = Report.cut(name, Report.MOST_WORD_LENGTH);
        this.dtype = dtype;
        for (int size : shape) {
            this.shape.add(size);
        }
        this.scale = scale == 0 ? null : Double.valueOf(scale);
        this.zeroPoint = scale == 0 ? null : Integer.valueOf(zeroPoint);
        this.file = new RunFile("output_" + number + ".raw", bytes);
    }

    Map<String, Object> toJson() {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("name", name);
        json.put("dtype", dtype);
        json.put("shape", shape);
        json.put("scale", scale);
        json.put("zero_point", zeroPoint);
        json.putAll(file.toJson());
        return json;
    }
}
