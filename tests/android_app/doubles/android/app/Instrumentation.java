package android.app;

import android.content.Context;
import android.os.Bundle;

/** Prints what `am instrument -w -r` prints. */
public class Instrumentation {
    private Context context;

    public final void attach(Context target) {
        context = target;
    }

    public void onCreate(Bundle extras) {}

    public void onStart() {}

    public void start() {
        new Thread(this::onStart, "instrumentation").start();
    }

    public Context getTargetContext() {
        return context;
    }

    public void sendStatus(int code, Bundle status) {
        print("STATUS", status);
        System.out.println("INSTRUMENTATION_STATUS_CODE: " + code);
    }

    public void finish(int code, Bundle result) {
        print("RESULT", result);
        System.out.println("INSTRUMENTATION_CODE: " + code);
    }

    private static void print(String kind, Bundle bundle) {
        for (String key : bundle.keySet()) {
            System.out.println("INSTRUMENTATION_" + kind + ": " + key + "=" + bundle.getString(key));
        }
    }
}
