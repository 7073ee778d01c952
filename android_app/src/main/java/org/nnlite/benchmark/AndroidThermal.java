package org.nnlite.benchmark;

import android.os.Build;
import android.os.PowerManager;

import org.nnlite.benchmark.core.Surroundings;
import org.nnlite.benchmark.core.ThermalSeries;

import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/**
 * Reads the device's thermal status (API 29) and headroom (API 30). Android answers NaN to whoever asks for the headroom
 * more often than about once a second. A thermal service that fails is one that tells nothing: it ends no run.
 */
final class AndroidThermal {
    /** Of the headroom: now, and not a forecast. */
    private static final int NOW = 0;

    private static final long INTERVAL_MS = 1_000;

    private final PowerManager power;

    AndroidThermal(PowerManager power) {
        this.power = power;
    }

    /** Returns PowerManager.THERMAL_STATUS_*; null before API 29. */
    Integer status() {
        try {
            return Build.VERSION.SDK_INT < Build.VERSION_CODES.Q ? null : power.getCurrentThermalStatus();
        } catch (RuntimeException error) {
            OwnLog.writeError("no thermal status", error);
            return null;
        }
    }

    /** Waits until the device is not throttled and its headroom is below a limit, or time is over. */
    void cool(double maxHeadroom, double maxS) throws InterruptedException {
        long deadlineNs = System.nanoTime() + (long) (maxS * 1e9);
        while (isWarm(maxHeadroom) && System.nanoTime() < deadlineNs) {
            Thread.sleep(INTERVAL_MS);
        }
    }

    /** Adds what the device says to the series until the watch is closed: once a second, and each new status. */
    Surroundings.Watch watch(ThermalSeries series) {
        return Build.VERSION.SDK_INT < Build.VERSION_CODES.Q ? () -> {} : watchStatus(series);
    }

    private Surroundings.Watch watchStatus(ThermalSeries series) {
        PowerManager.OnThermalStatusChangedListener listener = status -> series.add(status, Float.NaN);
        series.add(status(), Float.NaN);
        try {
            power.addThermalStatusListener(listener);
        } catch (RuntimeException error) {
            OwnLog.writeError("no thermal listener", error);
        }
        ScheduledExecutorService thread = Executors.newSingleThreadScheduledExecutor();
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) {
            thread.scheduleAtFixedRate(
                    () -> series.add(status(), headroom()), INTERVAL_MS, INTERVAL_MS, TimeUnit.MILLISECONDS);
        }
        return () -> {
            thread.shutdownNow();
            remove(listener);
        };
    }

    private void remove(PowerManager.OnThermalStatusChangedListener listener) {
        try {
            power.removeThermalStatusListener(listener);
        } catch (RuntimeException error) {
            OwnLog.writeError("the thermal listener stays", error);
        }
    }

    private boolean isWarm(double maxHeadroom) {
        Integer status = status();
        // NaN, an unknown headroom, is not above the limit.
        return status != null && (status > PowerManager.THERMAL_STATUS_NONE || headroom() >= maxHeadroom);
    }

    private float headroom() {
        try {
            return Build.VERSION.SDK_INT < Build.VERSION_CODES.R ? Float.NaN : power.getThermalHeadroom(NOW);
        } catch (RuntimeException error) {
            OwnLog.writeError("no thermal headroom", error);
            return Float.NaN;
        }
    }
}
