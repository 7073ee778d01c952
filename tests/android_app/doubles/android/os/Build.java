package android.os;

public final class Build {
    private Build() {}

    public static final class VERSION {
        public static final int SDK_INT = Integer.getInteger("double.api");

        private VERSION() {}
    }
}
