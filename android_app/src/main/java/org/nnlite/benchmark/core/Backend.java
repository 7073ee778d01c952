package org.nnlite.benchmark.core;

/** What executes the artifact; one per process. */
public enum Backend {
    CPU("cpu", "TfLiteXNNPackDelegate"),
    GPU("gpu", "TfLiteGpuDelegateV2"),
    NPU("npu", "TfLiteNnapiDelegate");

    /** As arguments name it. */
    public final String word;

    /** The runtime's name of the delegate that the backend stands for. */
    public final String delegate;

    Backend(String word, String delegate) {
        this.word = word;
        this.delegate = delegate;
    }

    /** Whether the backend is its delegate: nodes that it leaves run on the CPU, which is no failure of the CPU. */
    public boolean needsDelegation() {
        return this != CPU;
    }
}
