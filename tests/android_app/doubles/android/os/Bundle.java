package android.os;

import java.util.Set;
import java.util.TreeMap;

public final class Bundle {
    private final TreeMap<String, String> texts = new TreeMap<>();

    public void putString(String key, String text) {
        texts.put(key, text);
    }

    public String getString(String key) {
        return texts.get(key);
    }

    public Set<String> keySet() {
        return texts.keySet();
    }
}
