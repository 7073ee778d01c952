"""Memory of the measuring process, from files as /proc has them."""

import pytest

from nnlite_benchmark.host.memory import MemoryUse, model_kb

SMAPS = """\
55d0c0000000-55d0c1000000 r--p 00000000 08:01 123                        {artifact}
Size:               1024 kB
Rss:                {mapped} kB
Anonymous:             0 kB
VmFlags: rd mr mw me sd
7f1000000000-7f1000100000 r-xp 00000000 08:01 124                        /usr/lib/libLiteRt.so
Rss:                 900 kB
Anonymous:             8 kB
7f2000000000-7f2000100000 rw-p 00000000 00:00 0
Rss:                {anonymous} kB
Anonymous:          {anonymous} kB
"""


@pytest.fixture
def write(tmp_path):
    def write(artifact, *, mapped=0, anonymous=0, peak=5000):
        smaps = SMAPS.format(artifact=artifact, mapped=mapped, anonymous=anonymous)
        (tmp_path / "smaps").write_text(smaps)
        (tmp_path / "status").write_text(f"VmPeak:\t 9 kB\nVmHWM:\t{peak:8} kB\nVmRSS:\t    4000 kB\n")
        return tmp_path

    return write


def test_the_artifacts_file_and_memory_that_no_file_backs_are_the_models():
    text = SMAPS.format(artifact="/models/a b.tflite", mapped=300, anonymous=50).splitlines(keepends=True)

    assert model_kb(text, "/models/a b.tflite") == 300 + 8 + 50
    assert model_kb(text, "/models/other.tflite") == 8 + 50  # a mapped file is its own


def test_a_stage_is_a_range_from_growth_to_the_peak_of_the_process(write, tmp_path):
    artifact = tmp_path / "net.tflite"
    memory = MemoryUse(str(artifact), write(artifact, anonymous=100))
    assert memory.baseline_rss_kb == 4000
    assert memory.now() == {"model_kb": 0, "process_kb": 5000}

    write(artifact, mapped=700, anonymous=400, peak=9000)
    assert memory.now() == {"model_kb": 1000, "process_kb": 9000}

    write(artifact, anonymous=20)  # more was freed than the model took
    assert memory.now()["model_kb"] == 0


def test_what_the_kernel_does_not_say_is_unknown(tmp_path):
    memory = MemoryUse("/net.tflite", tmp_path / "absent")

    assert memory.baseline_rss_kb is None
    assert memory.now() == {"model_kb": None, "process_kb": None}
