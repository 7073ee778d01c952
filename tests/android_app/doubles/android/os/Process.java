package android.os;

public final class Process {
    private Process() {}

    public static int myPid() {
        return 4711;
    }
}
