package org.nnlite.benchmark.core;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Parses files of /proc and /sys; a missing or invalid value is null. A null text is an unreadable file. */
public final class ProcText {
    private static final int MOST_CORES = 4096;

    private ProcText() {}

    /** Returns a field such as {@code VmRSS} or {@code MemFree} of /proc/self/status or /proc/meminfo, kB. */
    public static Long fieldKb(String text, String field) {
        return number(text, "(?m)^" + field + ":\\s*(\\d{1,12}) kB");
    }

    /** Returns the cores that the process may use: {@code Cpus_allowed_list} of /proc/self/status. */
    public static List<Integer> allowedCores(String status) {
        Matcher match = Pattern.compile("(?m)^Cpus_allowed_list:\\s*(\\S+)").matcher(status == null ? "" : status);
        return match.find() ? cores(match.group(1)) : Collections.<Integer>emptyList();
    }

    /** Returns the cores of a list such as {@code 0-3,6}; none if it is invalid. */
    public static List<Integer> cores(String list) {
        List<Integer> cores = new ArrayList<>();
        Matcher ranges = Pattern.compile("(\\d{1,4})(?:-(\\d{1,4}))?").matcher(list == null ? "" : list);
        while (ranges.find()) {
            int first = Integer.parseInt(ranges.group(1));
            int last = ranges.group(2) == null ? first : Integer.parseInt(ranges.group(2));
            for (int core = first; core <= last && cores.size() < MOST_CORES; core++) {
                cores.add(core);
            }
        }
        return cores;
    }

    /** Returns the first number of /proc/loadavg. */
    public static Double load(String text) {
        Matcher match = Pattern.compile("^(\\d{1,6}\\.\\d{1,6}) ").matcher(text == null ? "" : text);
        return match.find() ? Double.valueOf(match.group(1)) : null;
    }

    /** Returns a file's only number. */
    public static Long number(String text) {
        return number(text, "^\\s*(\\d{1,15})\\s*$");
    }

    /** Returns a file's only word; null if it is empty or too long for a report. */
    public static String word(String text) {
        String word = text == null ? "" : text.trim();
        return word.isEmpty() || word.length() > Report.MOST_WORD_LENGTH ? null : word;
    }

    /** Returns the mean frequency of those cores whose frequency is known. */
    public static Long mean(List<Long> ofEachCore, List<Integer> cores) {
        long sum = 0;
        int count = 0;
        for (int core : cores) {
            Long value = core < ofEachCore.size() ? ofEachCore.get(core) : null;
            if (value != null) {
                sum += value;
                count++;
            }
        }
        return count == 0 ? null : Long.valueOf(sum / count);
    }

    /** Returns a counter of a line such as {@code se.nr_migrations : 5}; its name is a regular expression. */
    static Long counter(String text, String name) {
        return number(text, "(?m)^" + name + "\\s*:\\s*(\\d{1,18})$");
    }

    /** Returns a field of /proc/self/stat by its number in proc(5), from 4 on. */
    public static Long statField(String text, int field) {
        int end = text == null ? -1 : text.lastIndexOf(')');
        String[] words = end < 0 ? new String[0] : text.substring(end + 1).trim().split(" ");
        return field - 3 < words.length ? number(words[field - 3]) : null;
    }

    /**
     * Returns the memory of a process that is surely a model's or the process's own: what no file backs, without Java's
     * heap, and what is resident of the artifact's mapped file, kB.
     *
     * @param smaps /proc/self/smaps
     */
    public static Long modelKb(String smaps, String artifact) {
        if (smaps == null) {
            return null;
        }
        long totalKb = 0;
        String field = "";
        for (String line : smaps.split("\n")) {
            String[] words = line.trim().split("\\s+", 6);
            if (!words[0].endsWith(":")) {
                // The first line of a mapping: addresses, permissions, offset, device, inode, name.
                String name = words.length > 5 ? words[5] : "";
                field = name.equals(artifact) ? "Rss:" : name.contains("dalvik") ? "" : "Anonymous:";
            } else if (words[0].equals(field)) {
                totalKb += Long.parseLong(words[1]);
            }
        }
        return totalKb;
    }

    private static Long number(String text, String pattern) {
        Matcher match = Pattern.compile(pattern).matcher(text == null ? "" : text);
        return match.find() ? Long.valueOf(match.group(1)) : null;
    }
}
