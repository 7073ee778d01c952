package org.nnlite.benchmark.core;

import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.LinkedHashMap;
import java.util.Map;

/** A file that belongs to a report. */
public final class RunFile {
    /** File name without folder. */
    public final String name;

    final byte[] bytes;

    public RunFile(String name, byte[] bytes) {
        this.name = name;
        this.bytes = bytes;
    }

    Map<String, Object> toJson() {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("file", name);
        json.put("size_bytes", bytes.length);
        json.put("sha256", sha256());
        return json;
    }

    private String sha256() {
        try {
            StringBuilder text = new StringBuilder();
            for (byte value : MessageDigest.getInstance("SHA-256").digest(bytes)) {
                text.append(String.format("%02x", value));
            }
            return text.toString();
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException("every Java has SHA-256", error);
        }
    }
}
