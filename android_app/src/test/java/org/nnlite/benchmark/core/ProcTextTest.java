package org.nnlite.benchmark.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNull;

import org.junit.Test;

import java.util.Arrays;
import java.util.Collections;

public final class ProcTextTest {
    private static final String STATUS =
            "Name:\tlite.benchmark\nVmHWM:\t  123456 kB\nVmRSS:\t  100000 kB\nCpus_allowed:\tff\n"
                    + "Cpus_allowed_list:\t0-2,6-7\n";

    @Test
    public void memoryIsReadFromStatusAndMeminfoAlike() {
        assertEquals(Long.valueOf(123_456), ProcText.fieldKb(STATUS, "VmHWM"));
        assertEquals(Long.valueOf(3_000), ProcText.fieldKb("MemFree:   12 kB\nCached:   3000 kB\n", "Cached"));
        assertNull(ProcText.fieldKb("SwapCached: 3000 kB\n", "Cached"));
    }

    @Test
    public void coresAreListed() {
        assertEquals(Arrays.asList(0, 1, 2, 6, 7), ProcText.allowedCores(STATUS));
        assertEquals(Arrays.asList(0, 1, 2, 3), ProcText.cores("0-3\n"));
        assertEquals(4096, ProcText.cores("0-9999,0-9999").size());
    }

    @Test
    public void loadAndFrequenciesAreNumbers() {
        assertEquals(Double.valueOf(1.25), ProcText.load("1.25 0.80 0.40 3/912 4711\n"));
        assertEquals(Long.valueOf(1_785_600), ProcText.number("1785600\n"));
        assertEquals(Long.valueOf(150), ProcText.mean(Arrays.asList(100L, null, 200L), Arrays.asList(0, 1, 2, 9)));
    }

    @Test
    public void countersAreAddedUpOverTheThreads() {
        Counters counters = new Counters();
        counters.addThread("voluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t4\n", null);
        counters.addThread("voluntary_ctxt_switches:\t5\n", "se.nr_migrations   :   7\nnuma_pages_migrated  :  9\n");
        assertEquals(Long.valueOf(8), counters.voluntarySwitches);
        assertEquals(Long.valueOf(4), counters.involuntarySwitches);
        assertEquals(Long.valueOf(7), counters.migrations);
    }

    @Test
    public void fieldsOfStatAreCountedBehindTheName() {
        String stat = "123 (a ) b) R 1 2 3 4 5 6 777 8 9 10 11 12";
        assertEquals(Long.valueOf(777), ProcText.statField(stat, 10));
        assertEquals(Long.valueOf(9), ProcText.statField(stat, 12));
        assertNull(ProcText.statField(stat, 40));
        assertNull(ProcText.statField(null, 10));
    }

    @Test
    public void unreadableFilesAndGarbageAreNull() {
        for (String text : Arrays.asList(null, "", "Permission denied", "<unsupported>", "-1")) {
            assertNull(ProcText.fieldKb(text, "MemFree"));
            assertNull(ProcText.load(text));
            assertNull(ProcText.number(text));
            assertEquals(Collections.emptyList(), ProcText.allowedCores(text));
        }
        assertNull(ProcText.word(" \n"));
        assertNull(ProcText.word(new String(new char[301]).replace('\0', 'x')));
        assertNull(ProcText.mean(Arrays.asList((Long) null), Arrays.asList(0)));
    }

    @Test
    public void memoryOfFilesAndOfJavaIsNotTheModels() {
        String smaps =
                "7000-8000 rw-p 00000000 00:00 0      [anon:scudo:primary]\nRss:  700 kB\nAnonymous:  600 kB\n"
                        + "8000-9000 r--p 00000000 103:05 9   /data/local/tmp/nnlite/a b.tflite\nRss:  50 kB\n"
                        + "Anonymous:  0 kB\n"
                        + "9000-a000 r-xp 00000000 103:05 7   /system/lib64/libc.so\nRss:  900 kB\nAnonymous:  8 kB\n"
                        + "a000-b000 rw-p 00000000 00:00 0    [anon:dalvik-main space]\nRss:  4000 kB\n"
                        + "Anonymous:  4000 kB\n";

        assertEquals(Long.valueOf(658), ProcText.modelKb(smaps, "/data/local/tmp/nnlite/a b.tflite"));
        assertNull(ProcText.modelKb(null, "/a.tflite"));
    }
}
