package org.nnlite.benchmark.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import com.google.gson.JsonParser;

import org.junit.Test;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

public final class JsonTest {
    @Test
    public void everyValueIsReadBackByAnotherParser() {
        Map<String, Object> inner = new LinkedHashMap<>();
        inner.put("none", null);
        inner.put("yes", true);
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("text", "a \"quoted\" \\ line\nwith \u00e4, \u2028 and \ud83d\ude00");
        value.put("numbers", Arrays.asList(1, 9_007_199_254_740_993L, 0.1, 1e-9, null));
        value.put("inner", inner);

        String json = Json.write(value);

        assertEquals(value.get("text"), JsonParser.parseString(json).getAsJsonObject().get("text").getAsString());
        assertTrue(json, json.endsWith("\"numbers\":[1,9007199254740993,0.1,1.0E-9,null],"
                + "\"inner\":{\"none\":null,\"yes\":true}}"));
    }

    @Test
    public void theLineHasOnlyPrintableAscii() {
        String json = Json.write("\u0000\t\n\r \u007f \u00fc \uffff");

        assertTrue(json, json.matches("[ -~]*"));
    }

    @Test
    public void whatJsonHasNotIsAnError() {
        assertThrows(IllegalArgumentException.class, () -> Json.write(Double.NaN));
        assertThrows(IllegalArgumentException.class, () -> Json.write(new Object()));
    }
}
