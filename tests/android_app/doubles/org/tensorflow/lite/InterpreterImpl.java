package org.tensorflow.lite;

import java.util.ArrayList;
import java.util.List;

class InterpreterImpl {
    int getExecutionPlanLength() {
        return Integer.getInteger("double.plan", 7);
    }

    static class Options {
        final List<Delegate> delegates = new ArrayList<>();
        boolean xnnpack;
    }
}
