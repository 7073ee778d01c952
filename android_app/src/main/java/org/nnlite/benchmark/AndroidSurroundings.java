package org.nnlite.benchmark;

import android.content.Context;
import android.content.Intent;
import android.content.IntentFilter;
import android.os.BatteryManager;
import android.os.Debug;
import android.os.PowerManager;
import android.os.Process;

import org.nnlite.benchmark.core.BatterySeries;
import org.nnlite.benchmark.core.Counters;
import org.nnlite.benchmark.core.DeviceState;
import org.nnlite.benchmark.core.ProcText;
import org.nnlite.benchmark.core.Surroundings;
import org.nnlite.benchmark.core.ThermalSeries;

import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;

/** Reads process and device state from /proc, /sys and Android's services; apps may not read everything. */
final class AndroidSurroundings implements Surroundings {
    private static final String CPU = "/sys/devices/system/cpu/";
    private static final String STATUS = "/proc/self/status";
    private static final String TASKS = "/proc/self/task/";
    /** Fields of /proc/self/stat; see proc(5). */
    private static final int MINOR_FAULTS = 10;

    private static final int MAJOR_FAULTS = 12;
    private static final int USER_TIME = 14;
    private static final int SYSTEM_TIME = 15;
    private static final int PROCESSOR = 39;
    /** Resets the peak of the resident set; see proc(5). */
    private static final String FORGET_PEAK = "5";

    private final Context context;
    private final PowerManager power;
    private final AndroidThermal thermal;

    AndroidSurroundings(Context context) {
        this.context = context;
        this.power = context.getSystemService(PowerManager.class);
        this.thermal = new AndroidThermal(power);
    }

    @Override
    public DeviceState state() {
        DeviceState state = new DeviceState(Instant.now().truncatedTo(ChronoUnit.MILLIS).toString());
        String memory = read("/proc/meminfo");
        state.freeRamKb = ProcText.fieldKb(memory, "MemFree");
        state.availableRamKb = ProcText.fieldKb(memory, "MemAvailable");
        state.cachedKb = ProcText.fieldKb(memory, "Cached");
        state.load1m = ProcText.load(read("/proc/loadavg"));
        state.cpuset = ProcText.word(read("/proc/self/cpuset"));
        addFrequencies(state);
        addBattery(state);
        state.thermalStatus = thermal.status();
        state.powerSaver = power.isPowerSaveMode();
        return state;
    }

    @Override
    public List<Integer> cores() {
        return ProcText.allowedCores(threadStatus());
    }

    @Override
    public String bind(List<Integer> cores) {
        return Affinity.bind(cores);
    }

    @Override
    public Long core() {
        return ProcText.statField(read("/proc/thread-self/stat"), PROCESSOR);
    }

    @Override
    public Counters counters() {
        Counters counters = new Counters();
        String[] threads = new File(TASKS).list();
        for (String thread : threads == null ? new String[0] : threads) {
            counters.addThread(read(TASKS + thread + "/status"), read(TASKS + thread + "/sched"));
        }
        String stat = read("/proc/self/stat");
        counters.minorFaults = ProcText.statField(stat, MINOR_FAULTS);
        counters.majorFaults = ProcText.statField(stat, MAJOR_FAULTS);
        counters.userTicks = ProcText.statField(stat, USER_TIME);
        counters.systemTicks = ProcText.statField(stat, SYSTEM_TIME);
        for (int core : cores()) {
            Long khz = frequencyKhz(core);
            if (khz != null && (counters.frequencyKhz == null || khz > counters.frequencyKhz)) {
                counters.frequencyKhz = khz;
            }
        }
        return counters;
    }

    @Override
    public Long rssKb() {
        return ProcText.fieldKb(read(STATUS), "VmRSS");
    }

    @Override
    public Long peakRssKb() {
        return ProcText.fieldKb(read(STATUS), "VmHWM");
    }

    @Override
    public Long modelKb(String model) {
        return ProcText.modelKb(read("/proc/self/smaps"), model);
    }

    @Override
    public void forgetPeak() {
        try (FileOutputStream file = new FileOutputStream("/proc/self/clear_refs")) {
            file.write(FORGET_PEAK.getBytes(StandardCharsets.US_ASCII));
        } catch (IOException error) {
            // Then the peak is that of the process so far, which was small until now.
            OwnLog.write("the peak of memory cannot be set back: " + error.getMessage());
        }
    }

    @Override
    public Long pssKb() {
        return Debug.getPss();
    }

    @Override
    public boolean sustainsPerformance() {
        return power.isSustainedPerformanceModeSupported();
    }

    @Override
    public void cool(double maxHeadroom, double maxS) throws InterruptedException {
        thermal.cool(maxHeadroom, maxS);
    }

    @Override
    public Watch watchThermal(ThermalSeries series) {
        return thermal.watch(series);
    }

    private void addFrequencies(DeviceState state) {
        List<Integer> allowed = cores();
        List<Long> frequencies = new ArrayList<>();
        for (int core : ProcText.cores(read(CPU + "possible"))) {
            frequencies.add(frequencyKhz(core));
        }
        state.frequenciesKhz = frequencies;
        state.frequencyKhz = ProcText.mean(frequencies, allowed);
        // Of the last core that it may use: on phones one of the fast ones.
        for (int core : allowed) {
            String governor = ProcText.word(read(CPU + "cpu" + core + "/cpufreq/scaling_governor"));
            state.governor = governor == null ? state.governor : governor;
        }
    }

    private static Long frequencyKhz(int core) {
        return ProcText.number(read(CPU + "cpu" + core + "/cpufreq/scaling_cur_freq"));
    }

    /** The counter is read now; voltage and plug are those of the last broadcast. */
    @Override
    public BatterySeries.Reading battery() {
        BatterySeries.Reading reading = new BatterySeries.Reading();
        BatteryManager manager = context.getSystemService(BatteryManager.class);
        int chargeUah = manager.getIntProperty(BatteryManager.BATTERY_PROPERTY_CHARGE_COUNTER);
        // Without a counter it is 0, or the least number from API 28 on.
        reading.chargeUah = chargeUah > 0 ? Long.valueOf(chargeUah) : null;
        Intent battery = batteryChanged();
        if (battery != null) {
            int voltageMv = battery.getIntExtra(BatteryManager.EXTRA_VOLTAGE, 0);
            reading.voltageMv = voltageMv > 0 ? Integer.valueOf(voltageMv) : null;
            reading.plugged =
                    battery.hasExtra(BatteryManager.EXTRA_PLUGGED)
                            ? Boolean.valueOf(battery.getIntExtra(BatteryManager.EXTRA_PLUGGED, 0) != 0)
                            : null;
        }
        return reading;
    }

    private Intent batteryChanged() {
        return context.registerReceiver(null, new IntentFilter(Intent.ACTION_BATTERY_CHANGED));
    }

    private void addBattery(DeviceState state) {
        Intent battery = batteryChanged();
        if (battery == null) {
            return;
        }
        int level = battery.getIntExtra(BatteryManager.EXTRA_LEVEL, -1);
        int scale = battery.getIntExtra(BatteryManager.EXTRA_SCALE, -1);
        if (level >= 0 && scale > 0) {
            state.batteryPercent = 100.0 * level / scale;
        }
        int status = battery.getIntExtra(BatteryManager.EXTRA_STATUS, BatteryManager.BATTERY_STATUS_UNKNOWN);
        if (status != BatteryManager.BATTERY_STATUS_UNKNOWN) {
            state.charging =
                    status == BatteryManager.BATTERY_STATUS_CHARGING || status == BatteryManager.BATTERY_STATUS_FULL;
        }
        int tenthsC = battery.getIntExtra(BatteryManager.EXTRA_TEMPERATURE, Integer.MIN_VALUE);
        if (tenthsC != Integer.MIN_VALUE) {
            state.temperaturesC.put("battery", tenthsC / 10.0);
        }
    }

    /** Returns the status of the calling thread; kernels of 3.10 know it by its number only. */
    private static String threadStatus() {
        String status = read("/proc/thread-self/status");
        status = status == null ? read(TASKS + Process.myTid() + "/status") : status;
        return status == null ? read(STATUS) : status;
    }

    /** Returns a small file's text; null if it cannot be read. */
    private static String read(String path) {
        try {
            return new String(Files.readAllBytes(Paths.get(path)), StandardCharsets.UTF_8);
        } catch (IOException error) {
            return null;
        }
    }
}
