package org.nnlite.benchmark.core;

/**
 * How many nodes a delegate took. The runtime's log says it exactly. Where the log cannot be read (some vendors switch
 * it off), the length of the graph before and after tells less: {@code after = before - taken + groups}.
 */
public final class DelegationCount {
    private DelegationCount() {}

    /**
     * Returns the best count there is, or null.
     *
     * @param operators operators of the artifact's main graph; null: its file could not be read as one
     * @param planLength nodes of the graph that the runtime executes; null: it does not tell
     */
    public static Delegation of(Backend backend, DelegationLog log, Integer operators, Integer planLength) {
        if (log.delegation() != null) {
            return log.delegation();
        }
        if (operators == null) {
            return null;
        }
        if (log.isComplete()) {
            return new Delegation(backend.delegate, 0, operators, null, Delegation.Source.LOG);
        }
        return planLength == null ? null : fromGraph(backend, operators, planLength);
    }

    /** Returns all if one node is left of many, else the fewest that explain the shorter graph, else null. */
    private static Delegation fromGraph(Backend backend, int operators, int planLength) {
        if (planLength >= operators) {
            // None, or as many groups as nodes: it cannot be told apart.
            return null;
        }
        int taken = operators - planLength + 1;
        Integer partitions = planLength == 1 ? 1 : null;
        return new Delegation(backend.delegate, taken, operators, partitions, Delegation.Source.GRAPH);
    }

    /**
     * Lets a delegate pass that took something.
     *
     * @throws Refused the backend stands for its delegate, which took nothing or cannot be shown to have taken anything
     */
    public static void require(Backend backend, Delegation delegation) throws Refused {
        if (!backend.needsDelegation() || (delegation != null && delegation.delegatedNodes > 0)) {
            return;
        }
        String message =
                delegation == null
                        ? "Nothing shows that " + backend.delegate + " took any node"
                        : backend.delegate + " took none of the " + delegation.totalNodes + " nodes";
        throw new Refused(Refused.By.NOT_DELEGATED, message);
    }
}
