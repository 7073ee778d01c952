package org.nnlite.benchmark.core;

/**
 * Counts the nodes that a delegate took. The log has the exact number. If it is unreadable (vendors disable
 * it), the length of the graph before and after gives a bound: {@code after = before - taken + groups}.
 */
public final class DelegationCount {
    private DelegationCount() {}

    /**
     * Returns the best available count, or null; of a backend without a delegate there is none.
     *
     * @param operators operators of the artifact's main graph; null: the file could not be parsed
     * @param planLength nodes of the graph that the runtime executes; null: unknown
     */
    public static Delegation of(Backend backend, DelegationLog log, Integer operators, Integer planLength) {
        if (log.delegation() != null) {
            return log.delegation();
        }
        if (operators == null || backend.delegate.isEmpty()) {
            return null;
        }
        if (log.isComplete()) {
            return new Delegation(backend.delegate, 0, operators, null, Delegation.Source.LOG);
        }
        return planLength == null ? null : fromGraph(backend, operators, planLength);
    }

    /** Returns all if one of many nodes is left, else the minimum that explains the shorter graph, else null. */
    private static Delegation fromGraph(Backend backend, int operators, int planLength) {
        if (planLength >= operators) {
            // No node, or as many groups as nodes: ambiguous.
            return null;
        }
        int taken = operators - planLength + 1;
        Integer partitions = planLength == 1 ? 1 : null;
        return new Delegation(backend.delegate, taken, operators, partitions, Delegation.Source.GRAPH);
    }

    /**
     * Returns normally if the delegate took a node.
     *
     * @throws Refused the backend is a delegate that took no node, or for which none can be shown
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
