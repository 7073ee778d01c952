package org.nnlite.benchmark;

import android.os.Build;
import android.os.PowerManager;

import org.robolectric.annotation.Implementation;
import org.robolectric.annotation.Implements;
import org.robolectric.shadows.ShadowPowerManager;

/** Says how warm the device is: Robolectric's own shadow knows no thermal headroom. */
@Implements(PowerManager.class)
public final class WarmPower extends ShadowPowerManager {
    /** NaN: the device does not tell. */
    static volatile float headroom = Float.NaN;

    @Implementation(minSdk = Build.VERSION_CODES.R)
    protected float getThermalHeadroom(int forecastSeconds) {
        return headroom;
    }
}
