"""Crash logs are summarized, and the stack decides which backend is blamed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlite.vocabulary import Backend
from nnlite_benchmark.android.app.crashes import Crash, explain
from unit.android.recorded_device import RECORDED


def crash(name):
    return (RECORDED / "crashes" / f"{name}.txt").read_text()


# Invented: the head of a tombstone of our app, for frames of which only the stack was found.
HEAD = """\
*** *** *** *** *** *** *** *** *** *** *** *** *** *** *** ***
pid: 4711, tid: 4712, name: {thread}  >>> org.nnlite.benchmark <<<
signal 6 (SIGABRT), code -1 (SI_QUEUE), fault addr --------
Abort message: 'ubsan: mul-overflow'
backtrace:
"""


def of_app(*frames, thread="measuring"):
    lines = [f"      #{number:02} pc 0000000000831088  {frame}" for number, frame in enumerate(frames)]
    return HEAD.format(thread=thread) + "\n".join(lines) + "\n"


def test_a_crash_in_the_gpu_delegate_blames_the_gpu():
    assert explain(crash("gpu_delegate_samsung_a52"), process="com.example.debug_app") == Crash(
        summary="SIGSEGV (SEGV_MAPERR) at 0x0000000000000018, null pointer dereference, "
        "in libtensorflowlite_gpu_jni.so",
        blames=Backend.GPU,
    )


def test_a_crash_in_the_runtimes_kernels_blames_the_cpu():
    assert explain(crash("runtime_galaxy_tab"), process="me.visual.camp.mobileeye") == Crash(
        summary="SIGSEGV (SEGV_MAPERR) at 0x6a9e1398, in libtensorflowlite_jni.so", blames=Backend.CPU
    )


def test_a_library_inside_a_package_is_found():
    assert explain(crash("runtime_in_package_hisense"), process="com.vt.tv.aipq") == Crash(
        summary="SIGSEGV (SEGV_ACCERR) at 0xa59fdbc0, in libtensorflowlite_jni.so", blames=Backend.CPU
    )


def test_a_crash_of_the_nnapi_driver_process_blames_the_npu():
    cause = explain(crash("nnapi_driver_galaxy_s10"))

    assert cause.blames is Backend.NPU
    assert "android.hardware.neuralnetworks@1.1-service-qti crashed: SIGSEGV (SEGV_MAPERR)" in cause.summary


def test_the_apps_crash_after_its_drivers_counts():
    later = of_app("/apex/com.android.runtime/lib64/bionic/libc.so (abort+164)")

    assert explain(crash("nnapi_driver_galaxy_s10") + later).blames is None


def test_a_java_exception_is_summarized_by_its_message():
    assert explain(crash("java_nnapi"), process="com.example.android.tflitecamerademo") == Crash(
        summary="java.lang.IllegalArgumentException: Failed to run on the given Interpreter: "
        "NNAPI was requested, but dependent sized tensors being used.",
        blames=None,
    )


def test_an_exception_in_a_delegates_class_blames_its_backend():
    text = crash("java_nnapi").replace("lite.Interpreter.run", "lite.gpu.GpuDelegate.<init>")

    assert explain(text, process="com.example.android.tflitecamerademo").blames is Backend.GPU


def test_opencl_in_a_vendors_graphics_driver_blames_the_gpu():
    head = HEAD.format(thread="measuring")

    assert explain(head + crash("opencl_mali_frames")).blames is Backend.GPU


@pytest.mark.parametrize(
    ("frames", "blames"),
    [
        (
            ["libc.so (abort+1)", "/vendor/lib64/libOpenCL_adreno.so", "x!libtensorflowlite_gpu_jni.so"],
            Backend.GPU,
        ),
        (["libc.so", "/system/lib64/libneuralnetworks.so", "/data/libtensorflowlite_jni.so"], Backend.NPU),
        (["/apex/com.android.neuralnetworks/lib64/libneuralnetworks.so (a::b()+1)"], Backend.NPU),
        (["/vendor/lib64/libQnnHtp.so"], Backend.NPU),
        (["/data/a!lib/arm64-v8a/libtensorflowlite_jni.so", "/vendor/lib64/libOpenCL.so"], Backend.CPU),
        (["/vendor/lib64/hw/vulkan.adreno.so"], Backend.GPU),
        (["/system/lib64/libart.so", "/data/app/x/base.apk"], None),
        (["<anonymous:7a6a05251e>", "[anon:libc_malloc]", "<unknown>"], None),
        ([], None),
    ],
)
def test_the_first_known_library_of_the_stack_decides(frames, blames):
    assert explain(of_app(*frames)).blames is blames


def test_a_crash_of_a_rendering_thread_blames_no_delegate():
    frames = ["/vendor/lib64/egl/libGLESv2_adreno.so", "/system/lib64/libhwui.so"]

    assert explain(of_app(*frames, thread="RenderThread")).blames is None
    assert explain(of_app(*frames)).blames is Backend.GPU


def test_a_summary_has_signal_abort_message_and_libraries():
    cause = explain(of_app("/system/lib64/libc.so", "/system/lib64/libc.so", "/vendor/lib64/libOpenCL.so"))

    assert cause.summary == "SIGABRT (SI_QUEUE), abort message: ubsan: mul-overflow, in libc.so, libOpenCL.so"


def test_crashes_of_other_processes_and_earlier_runs_are_ignored():
    gpu = of_app("/vendor/lib64/libOpenCL.so")

    assert explain(crash("runtime_galaxy_tab")) == Crash(summary="", blames=None)
    assert explain(gpu, pid=4711).blames is Backend.GPU
    assert explain(gpu, pid=4712) == Crash(summary="", blames=None)
    assert explain(gpu + crash("runtime_galaxy_tab")).blames is Backend.GPU


def test_the_last_crash_counts():
    text = of_app("/vendor/lib64/libOpenCL.so") + of_app("/data/libtensorflowlite_jni.so")

    assert explain(text).blames is Backend.CPU


def test_other_threads_of_a_tombstone_are_ignored():
    others = (
        "--- --- --- --- --- --- --- --- --- --- --- --- --- --- --- ---\n"
        "pid: 4711, tid: 4800, name: Binder  >>> org.nnlite.benchmark <<<\n"
        "      #00 pc 00831088  /system/lib64/libneuralnetworks.so\n"
    )

    assert explain(of_app("/vendor/lib64/libOpenCL.so") + others).blames is Backend.GPU


JAVA = "FATAL EXCEPTION: main\nProcess: org.nnlite.benchmark, PID: 4711\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "--------- beginning of crash\n",
        "nonsense",
        "*** " * 20,
        # A search that begins again at each of a million places would take hours.
        "pid: 1, tid: 1" * 70_000,
        "*** " * 250_000,
        "--- " * 250_000,
        JAVA + "a" * 1_000_000,
        JAVA + "a." * 500_000,
        JAVA + "at a.b" * 150_000,
    ],
)
def test_a_log_without_a_crash_gives_no_summary(text):
    assert explain(text) == Crash(summary="", blames=None)


LINES = st.sampled_from(
    [line for path in (RECORDED / "crashes").iterdir() for line in path.read_text().splitlines()]
    + of_app("a/libOpenCL.so").splitlines()
)


@given(st.lists(st.one_of(LINES, st.text(max_size=60)), max_size=40).map("\n".join))
def test_any_log_gives_a_short_summary(text):
    assert len(explain(text).summary) <= 600
