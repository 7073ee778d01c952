"""Virtual Android devices for tests, with AOSP's own adbd.

Set up once by `make rig host-app`; used inside a network namespace of its own
(`python -m device.rig.isolation COMMAND`), which `make test` does.

Emulators: `Rig(folder).make_sdk()` makes an SDK folder whose
`emulator/emulator` has the real one's command line, locks, ports, console and
exits. The code under test starts it; `sdk.avd(NAME)` is the device behind the
AVD of that name, whether the AVD exists yet or not. Its data is in the
AVD's folder, and `-wipe-data` deletes it. `RIG_BOOT_S` in the emulator's
environment is the duration of a boot (0.3 s). A snapshot (`snapshots`) is a
copy of its data: what boots from it has booted at once, but nothing of its
memory is kept.

Phones: `rig.phone("phone", port=5555)` switches one on, for
`adb connect 127.0.0.1:5555`; `unplug`, `plug`, `stop`.

A container: `tests/compose/device` makes one that is an emulator for other
containers.

Faults: `device.fault(Fault.APP_CRASHES, every=3)`; each heals by `times=`,
by `until=Until.RESTART` or `Until.WIPE`, or by `device.heal()`. `Fault` lists
them with their parameters. Other interventions are functions of
`device.rig.rig`: `kill`, `frozen`, `taken`, `leave_stale_locks`.

Real: adbd and its protocol, the shell, the file system, and the app, from
`am instrument` or `am start` on: its own classes and the APK's TensorFlow Lite
on Android's framework (`runtimes`: a JVM per API level, which all devices of a
test process share, started when the first of them runs its app; a run that is
equal to one before gets the answer of that, see `replays`). Simulated:
everything in `bin/`, in the format of API 30; the app's clock, so that a busy
machine changes no count and no verdict; battery and heat; a GPU or an NPU that
works (`device.backends(gpu=Mode.WORKS)`: the CPU computes, the report names the
GPU). A fault of the app kills its process on the device, with `runtime=True` its
JVM too, holds the JVM, or changes its answer on the way. A device identifies
itself: `ro.product.model` is `rig`.

A device serves one adb host at a time; others connect and get no answer until
the first has disconnected, as with the real emulator.
"""
