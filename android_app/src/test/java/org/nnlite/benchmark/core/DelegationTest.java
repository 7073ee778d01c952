package org.nnlite.benchmark.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import org.junit.Test;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

public final class DelegationTest {
    private static final String RUN = "0123abcd";
    private static final String CREATED = "I/tflite  ( 4711): Created TensorFlow Lite XNNPACK delegate for CPU.";

    @Test
    public void theLogTellsNodesAndPartitions() {
        DelegationLog log = log(Backend.CPU, CREATED, replacing(34, 36, "TfLiteXNNPackDelegate", 3));

        Delegation delegation = log.delegation();

        assertTrue(log.isComplete());
        assertEquals("TfLiteXNNPackDelegate", delegation.delegate);
        assertEquals(34, delegation.delegatedNodes);
        assertEquals(36, delegation.totalNodes);
        assertEquals(Integer.valueOf(3), delegation.partitions);
        assertEquals(Delegation.Source.LOG, delegation.countedFrom);
    }

    @Test
    public void subgraphsAddUp() {
        Delegation delegation =
                log(
                                Backend.GPU,
                                replacing(10, 12, "TfLiteGpuDelegateV2", 2),
                                replacing(3, 3, "TfLiteGpuDelegateV2", 1))
                        .delegation();

        assertEquals(13, delegation.delegatedNodes);
        assertEquals(15, delegation.totalNodes);
        assertEquals(Integer.valueOf(3), delegation.partitions);
    }

    @Test
    public void anotherDelegateDoesNotCount() {
        String xnnpack = replacing(34, 36, "TfLiteXNNPackDelegate", 1);

        assertNull(log(Backend.GPU, xnnpack).delegation());
        assertNull(log(Backend.CPU, replacing(34, 36, "TfLiteNnapiDelegate", 1)).delegation());
        assertEquals("LITERT_CL", log(Backend.GPU, replacing(3, 3, "LITERT_CL", 1)).delegation().delegate);
    }

    @Test
    public void theLineOfAnotherRunDoesNotBracketThisOne() {
        DelegationLog log =
                DelegationLog.read(
                        Arrays.asList(DelegationLog.beginLine("ff"), DelegationLog.endLine("ff")), RUN, Backend.CPU);

        assertTrue(!log.isComplete() && !log.isEnded());
    }

    @Test
    public void aWholeLogWithoutTheLineMeansThatNothingWasTaken() {
        Delegation delegation = DelegationCount.of(Backend.NPU, log(Backend.NPU), 36, 36);

        assertEquals("TfLiteNnapiDelegate", delegation.delegate);
        assertEquals(0, delegation.delegatedNodes);
        assertEquals(36, delegation.totalNodes);
        assertEquals(Delegation.Source.LOG, delegation.countedFrom);
    }

    @Test
    public void withoutALogOneNodeLeftOfManyMeansThatAllWereTaken() {
        Delegation delegation = DelegationCount.of(Backend.GPU, unread(), 36, 1);

        assertEquals(36, delegation.delegatedNodes);
        assertEquals(Integer.valueOf(1), delegation.partitions);
        assertEquals(Delegation.Source.GRAPH, delegation.countedFrom);
    }

    @Test
    public void withoutALogAShorterGraphTellsTheFewestNodesThatWereTaken() {
        Delegation delegation = DelegationCount.of(Backend.GPU, unread(), 36, 7);

        assertEquals(30, delegation.delegatedNodes);
        assertEquals(36, delegation.totalNodes);
        assertNull(delegation.partitions);
    }

    @Test
    public void withoutALogAGraphThatIsNoShorterTellsNothing() {
        assertNull(DelegationCount.of(Backend.GPU, unread(), 36, 36));
        assertNull(DelegationCount.of(Backend.GPU, unread(), 1, 1));
        assertNull(DelegationCount.of(Backend.GPU, unread(), 36, null));
        assertNull(DelegationCount.of(Backend.GPU, unread(), null, 1));
    }

    @Test
    public void aDelegateThatTookNothingIsRefused() {
        Delegation none = new Delegation("TfLiteGpuDelegateV2", 0, 36, null, Delegation.Source.LOG);

        Refused refused = assertThrows(Refused.class, () -> DelegationCount.require(Backend.GPU, none));

        assertEquals(Refused.By.NOT_DELEGATED, refused.by);
        assertEquals("TfLiteGpuDelegateV2 took none of the 36 nodes", refused.getMessage());
        refused = assertThrows(Refused.class, () -> DelegationCount.require(Backend.NPU, null));
        assertEquals("Nothing shows that TfLiteNnapiDelegate took any node", refused.getMessage());
    }

    @Test
    public void theCpuWithoutXnnpackHasNoDelegateToCount() throws Refused {
        assertNull(DelegationCount.of(Backend.CPU_PLAIN, log(Backend.CPU_PLAIN), 36, 36));
        DelegationCount.require(Backend.CPU_PLAIN, null);
    }

    @Test
    public void theCpuIsItselfWhateverXnnpackTakes() throws Refused {
        DelegationCount.require(Backend.CPU, new Delegation("x", 0, 36, null, Delegation.Source.LOG));
        DelegationCount.require(Backend.CPU, null);
        DelegationCount.require(Backend.GPU, new Delegation("x", 1, 36, 3, Delegation.Source.LOG));
    }

    private static DelegationLog log(Backend backend, String... lines) {
        List<String> all = new ArrayList<>();
        all.add("--------- beginning of main");
        all.add("I/nnlite  ( 4711): " + DelegationLog.beginLine(RUN));
        all.addAll(Arrays.asList(lines));
        all.add("I/nnlite  ( 4711): " + DelegationLog.endLine(RUN));
        return DelegationLog.read(all, RUN, backend);
    }

    private static DelegationLog unread() {
        return DelegationLog.read(Arrays.asList("logcat: Logcat read failure: Permission denied"), RUN, Backend.GPU);
    }

    private static String replacing(int nodes, int of, String delegate, int partitions) {
        return "I/tflite  ( 4711): Replacing " + nodes + " out of " + of + " node(s) with delegate (" + delegate
                + ") node, yielding " + partitions + " partitions for the whole graph.";
    }
}
