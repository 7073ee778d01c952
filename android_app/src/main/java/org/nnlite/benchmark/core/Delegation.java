package org.nnlite.benchmark.core;

import java.util.LinkedHashMap;
import java.util.Map;

/** Number of nodes that the delegate took. */
public final class Delegation {
    /** The runtime's name of it. */
    public final String delegate;

    public final int delegatedNodes;

    /** Nodes of the graph before delegation. */
    public final int totalNodes;

    /** Partitions of the graph; null if only a log has their number. */
    public final Integer partitions;

    public final Source countedFrom;

    /** Source of the count. */
    public enum Source {
        LOG("log"),
        GRAPH("graph");

        /** Its name in reports. */
        public final String word;

        Source(String word) {
            this.word = word;
        }
    }

    public Delegation(String delegate, int delegatedNodes, int totalNodes, Integer partitions, Source countedFrom) {
        this.delegate = delegate;
        this.delegatedNodes = delegatedNodes;
        this.totalNodes = totalNodes;
        this.partitions = partitions;
        this.countedFrom = countedFrom;
    }

    Map<String, Object> toJson() {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("delegate", delegate);
        json.put("delegated_nodes", delegatedNodes);
        json.put("total_nodes", totalNodes);
        json.put("partitions", partitions);
        json.put("counted_from", countedFrom.word);
        return json;
    }
}
