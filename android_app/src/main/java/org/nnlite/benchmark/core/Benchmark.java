package org.nnlite.benchmark.core;

/** Runs the stages of one run and records their results; a refusal is a result too. */
public final class Benchmark {
    private final Arguments arguments;
    private final Engine engine;
    private final Surroundings surroundings;
    private final RunState state;
    private final Clock clock;
    private final Listener listener;
    private final Report report;
    private MemoryUse memory;

    /** Called at the beginning of each stage. */
    public interface Listener {
        /**
         * @param firstInferenceNs null before the first inference
         */
        void entered(Stage stage, Long firstInferenceNs);
    }

    public Benchmark(
            Arguments arguments,
            Engine engine,
            Surroundings surroundings,
            RunState state,
            Clock clock,
            Listener listener) {
        this.arguments = arguments;
        this.engine = engine;
        this.surroundings = surroundings;
        this.state = state;
        this.clock = clock;
        this.listener = listener;
        this.report = new Report(arguments);
    }

    /**
     * Runs all stages on the calling thread. A refusal is part of the report, and so is anything that is thrown, such
     * as the LinkageError of a library that this device cannot load.
     *
     * <p>Nothing is closed: Android kills the process after its report, and closing a GPU delegate crashes some
     * drivers.
     */
    public Report run() {
        state.begin(arguments);
        try {
            if (!arguments.cores.isEmpty()) {
                report.coresError = surroundings.bind(arguments.cores);
            }
            report.cores = surroundings.cores();
            report.sustainedPerformance = arguments.sustained ? surroundings.sustainsPerformance() : null;
            enter(Stage.INITIALIZE);
            cool();
            report.before = surroundings.state();
            initialize();
            measure();
        } catch (Refused refused) {
            refuse(refused);
        } catch (Throwable thrown) {
            refuse(new Refused(Refused.By.RUNTIME, thrown.toString()));
        }
        return report;
    }

    private void refuse(Refused refused) {
        report.refuse(refused);
        try {
            report.nnapiErrno = engine.nnapiErrno();
            report.after = surroundings.state();
        } catch (Throwable thrown) {
            // The report has the first error; these values stay unknown.
        }
    }

    private void cool() throws InterruptedException {
        long beginNs = clock.nowNs();
        surroundings.cool(arguments.maxHeadroom, arguments.coolS);
        report.cooledNs = clock.nowNs() - beginNs;
    }

    private void initialize() throws Refused {
        report.runtimeVersion = engine.version();
        report.pssBeforeKb = surroundings.pssKb();
        report.baselineRssKb = surroundings.rssKb();
        memory = new MemoryUse(surroundings, arguments.model);
        surroundings.forgetPeak();
        long beginNs = clock.nowNs();
        engine.open();
        report.initNs = clock.nowNs() - beginNs;
        memory.afterLoad();
        engine.fill();
        report.firstInferenceNs = engine.invoke();
        memory.afterFirstRun();
        report.memory = memory.toJson();
        report.delegation = engine.delegation();
        report.delegateMessages = arguments.backend.needsDelegation() ? engine.messages() : null;
        DelegationCount.require(arguments.backend, report.delegation);
    }

    private void measure() throws Refused {
        ThermalSeries series = new ThermalSeries(clock);
        Surroundings.Watch watch = surroundings.watchThermal(series);
        try {
            timeRuns();
        } finally {
            watch.close();
            report.thermal = series.toJson();
        }
    }

    private void timeRuns() throws Refused {
        Protocol protocol = new Protocol(clock, arguments.bounds);
        state.watchFocus();
        enter(Stage.WARM_UP);
        Protocol.Outcome warmUp = protocol.warmUp(engine::invoke, state::ran);
        report.warmupRuns = warmUp.samples.size();
        report.warmupNs = warmUp.elapsedNs;
        // Read now: timed runs only repeat this work, and their samples would be counted too.
        report.peakRssKb = surroundings.peakRssKb();
        memory.afterWarmUp();
        enter(Stage.RUN);
        CoreCount cores = new CoreCount(clock, surroundings::core, state::ran);
        GatedRuns gated = gatedRuns(cores);
        Counters before = surroundings.counters();
        long beginNs = clock.nowNs();
        Protocol.Outcome timed = null;
        if (arguments.continuousS > 0) {
            ContinuousRuns runs = new ContinuousRuns();
            BatterySeries battery = new BatterySeries(clock, surroundings::battery);
            battery.read();
            report.runNs = runs.run(engine::invoke, cores, battery::readIfDue, clock, arguments.continuousS);
            battery.read();
            report.bins = runs.toJson();
            report.battery = battery.toJson();
        } else if (gated == null) {
            timed = protocol.timedRuns(engine::invoke, cores);
        } else {
            timed = gated.run(warmUp.elapsedNs / warmUp.samples.size());
        }
        long windowNs = clock.nowNs() - beginNs;
        report.disturbance = surroundings.counters().since(before, windowNs, report.cores.size());
        report.sliceCores = cores.toJson();
        report.inFront = state.keptFocus();
        report.after = surroundings.state();
        report.pssAfterKb = surroundings.pssKb();
        report.nnapiErrno = engine.nnapiErrno();
        if (timed != null) {
            report.complete(timed, gated == null ? null : gated.toJson(), engine.outputs());
        }
    }

    /** Returns what times the runs between canaries; null: every run counts. */
    private GatedRuns gatedRuns(Protocol.Progress progress) throws Refused {
        Gate gate = arguments.gate;
        if (gate == null) {
            return null;
        }
        Protocol.Inference canary = engine.canary(gate.model);
        return new GatedRuns(engine::invoke, canary, progress, clock, arguments.bounds, gate);
    }

    private void enter(Stage stage) {
        report.stage = stage;
        state.enter(stage);
        listener.entered(stage, report.firstInferenceNs);
    }
}
