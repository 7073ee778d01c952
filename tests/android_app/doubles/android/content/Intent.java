package android.content;

import java.util.HashMap;
import java.util.Map;

public final class Intent {
    final Map<String, Integer> numbers = new HashMap<>();

    public Intent() {}

    public Intent(Context context, Class<?> component) {}

    public Intent addFlags(int flags) {
        return this;
    }

    public int getIntExtra(String key, int otherwise) {
        return numbers.getOrDefault(key, otherwise);
    }
}
