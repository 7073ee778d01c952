package org.nnlite.benchmark.core;

/** What executes the artifact; one per process. */
public enum Backend {
    CPU("cpu", "TfLiteXNNPackDelegate"),
    GPU("gpu", "TfLiteGpuDelegateV2"),
    NPU("npu", "TfLiteNnapiDelegate"),
    /** The runtime's own kernels, without XNNPACK. */
    CPU_PLAIN("cpu-plain", "");

    /** As arguments name it. */
    public final String word;

    /** The runtime's name of the backend's delegate; empty: it has none. */
    public final String delegate;

    Backend(String word, String delegate) {
        this.word = word;
        this.delegate = delegate;
    }

    /** Whether the backend is a delegate; on the CPU, nodes that XNNPACK does not take are no failure. */
    public boolean needsDelegation() {
        return this == GPU || this == NPU;
    }
}
