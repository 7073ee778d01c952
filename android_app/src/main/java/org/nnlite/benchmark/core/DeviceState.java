package org.nnlite.benchmark.core;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Changing state of the device, as the app reads it; null if unknown. */
public final class DeviceState {
    /** ISO 8601 with a zone. */
    public final String at;

    public Long freeRamKb;
    public Long availableRamKb;
    public Long cachedKb;
    public Double load1m;
    public String governor;

    /** Mean of the measuring cores. */
    public Long frequencyKhz;

    /** One per core; null: offline or unknown. */
    public List<Long> frequenciesKhz = Collections.emptyList();

    public final Map<String, Double> temperaturesC = new LinkedHashMap<>();
    public Double batteryPercent;
    public Boolean charging;

    /** PowerManager.THERMAL_STATUS_*. */
    public Integer thermalStatus;

    /** Android's battery saver is on. */
    public Boolean powerSaver;

    /** /proc/self/cpuset. */
    public String cpuset;

    public DeviceState(String at) {
        this.at = at;
    }

    Map<String, Object> toJson() {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("at", at);
        json.put("free_ram_kb", freeRamKb);
        json.put("available_ram_kb", availableRamKb);
        json.put("cached_kb", cachedKb);
        json.put("load_1m", load1m);
        json.put("governor", governor);
        json.put("frequency_khz", frequencyKhz);
        json.put("frequencies_khz", frequenciesKhz);
        json.put("temperatures_c", temperaturesC);
        json.put("battery_percent", batteryPercent);
        json.put("charging", charging);
        json.put("thermal_status", thermalStatus);
        json.put("power_saver", powerSaver);
        json.put("cpuset", cpuset);
        return json;
    }
}
