package android.content;

import android.os.PowerManager;

import java.io.File;

/** An app whose window comes to the front if the property double.focus says so. */
public final class Context {
    private final File root = new File(System.getProperty("double.root"));
    private final Runnable window;

    public Context(Runnable window) {
        this.window = window;
    }

    public File getCacheDir() {
        return made("cache");
    }

    public File getExternalCacheDir() {
        return made("external_cache");
    }

    public File[] getExternalMediaDirs() {
        return new File[] {Boolean.getBoolean("double.no_storage") ? null : made("media")};
    }

    public Intent registerReceiver(BroadcastReceiver receiver, IntentFilter filter) {
        Intent battery = new Intent();
        battery.numbers.put("level", 43);
        battery.numbers.put("scale", 50);
        battery.numbers.put("status", 5);
        battery.numbers.put("temperature", 315);
        return battery;
    }

    public <T> T getSystemService(Class<T> service) {
        return service.cast(new PowerManager());
    }

    public void startActivity(Intent intent) {
        window.run();
    }

    private File made(String name) {
        File folder = new File(root, name);
        folder.mkdirs();
        return folder;
    }
}
