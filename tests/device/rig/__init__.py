"""Virtual Android devices for tests, with AOSP's own adbd.

Set up once by `make rig`; used inside a network namespace of its own
(`python -m device.rig.isolation COMMAND`), which `make test` does.

Emulators: `Rig(folder).make_sdk()` makes an SDK folder whose
`emulator/emulator` has the real one's command line, locks, ports, console and
exits. Whoever is tested starts it; `sdk.avd(NAME)` is the device behind the
AVD of that name, whether the AVD exists yet or not. What it keeps lies in the
AVD's folder and is emptied by `-wipe-data`. `RIG_BOOT_S` in the emulator's
environment says how long a boot takes (0.3 s).

Phones: `rig.phone("phone", port=5555)` switches one on, for
`adb connect 127.0.0.1:5555`; `unplug`, `plug`, `stop`.

A container: `tests/compose/device` makes one that is an emulator for other
containers.

Faults: `device.fault(Fault.APP_CRASHES, every=3)`; each heals by `times=`,
by `until=Until.RESTART` or `Until.WIPE`, or by `device.heal()`. `Fault` lists
them with their parameters. What a test can simply do has functions in
`device.rig.rig`: `kill`, `frozen`, `taken`, `leave_stale_locks`.

What is real: adbd and its protocol, the shell, the file system, the app's
process and its inference (LiteRT on the CPU), its death by a signal. What is
played: everything in `bin/`, in the format of API 30; the GPU and the NPU
(`device.backends(gpu=Mode.WORKS)` computes on the CPU and says otherwise).
The rig says so: `ro.product.model` is `rig`, a report's runtime `rig LiteRT`.

A device takes one adb host at a time; others connect and hear nothing until
the first is gone, as the real emulator has it.
"""
