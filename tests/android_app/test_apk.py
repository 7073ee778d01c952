"""The APK that `make apk` made: what Android and the host rely on."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from android_app.binaries import data_offsets, dex_classes, segment_alignments
from android_app.conftest import REPOSITORY, TIMEOUT_S
from apk.assembling import LIBRARY
from apk.building import ABIS
from apk.lock import properties

RUNTIME = "libtensorflowlite_jni.so"
GPU = "libtensorflowlite_gpu_jni.so"
PAGE = 4096
LARGE_PAGE = 16384


@pytest.fixture(scope="module")
def badging(tools, apk) -> str:
    return _output([tools.aapt2, "dump", "badging", apk])


@pytest.fixture(scope="module")
def manifest(tools, apk) -> str:
    return _output([tools.aapt2, "dump", "xmltree", "--file", "AndroidManifest.xml", apk])


def test_package_and_versions_are_those_of_the_properties(badging):
    versions = properties()

    assert f"package: name='org.nnlite.benchmark' versionCode='{versions['versionCode']}'" in badging
    assert "sdkVersion:'26'" in badging
    assert "targetSdkVersion:'34'" in badging
    assert "native-code: 'arm64-v8a' 'x86_64'" in badging


def test_it_is_a_release_build_that_the_shell_may_profile(badging, manifest):
    assert "application-debuggable" not in badging
    assert "debuggable" not in manifest
    assert re.search(r"E: profileable .*\n\s+A: \S+:shell\(\w+\)=true", manifest)


def test_the_gpu_delegate_may_load_the_vendors_opencl(badging):
    libraries = re.findall(r"uses-native-library-not-required:'(.+)'", badging)

    assert libraries == ["libOpenCL.so", "libOpenCL-pixel.so", "libOpenCL-car.so"]


def test_it_asks_for_no_permission(badging):
    assert "uses-permission" not in badging


def test_only_the_shell_can_start_its_activity(manifest):
    (activity,) = _elements(manifest, "activity")

    assert 'name(0x01010003)="org.nnlite.benchmark.BenchmarkActivity"' in activity
    assert 'permission(0x01010006)="android.permission.DUMP"' in activity
    assert "exported(0x01010010)=true" in activity
    assert "showWhenLocked(0x01010569)=true" in activity
    assert "turnScreenOn(0x0101056a)=true" in activity


def test_its_instrumentation_is_the_one_that_the_host_starts(manifest):
    (instrumentation,) = _elements(manifest, "instrumentation")

    assert 'name(0x01010003)="org.nnlite.benchmark.BenchmarkInstrumentation"' in instrumentation
    assert 'targetPackage(0x01010021)="org.nnlite.benchmark"' in instrumentation


def test_its_signature_verifies(tools, apk):
    signatures = _output([*tools.apksigner, "verify", "--verbose", "--print-certs", apk])

    assert "Verified using v2 scheme (APK Signature Scheme v2): true" in signatures
    assert "Verified using v3 scheme (APK Signature Scheme v3): true" in signatures
    assert "Number of signers: 1" in signatures


def test_it_has_the_classes_of_the_app_and_of_the_runtime_only(apk):
    with zipfile.ZipFile(apk) as archive:
        assert [name for name in archive.namelist() if name.endswith(".dex")] == ["classes.dex"]
        classes = dex_classes(archive.read("classes.dex"))

    packages = {name.rsplit(".", 1)[0] for name in classes}
    assert {name for name in packages if not name.startswith("org.tensorflow.lite")} == {
        "org.nnlite.benchmark",
        "org.nnlite.benchmark.core",
    }
    assert {
        "org.nnlite.benchmark.BenchmarkInstrumentation",
        "org.nnlite.benchmark.core.Protocol",
        "org.tensorflow.lite.Interpreter",
        "org.tensorflow.lite.gpu.GpuDelegate",
        "org.tensorflow.lite.gpu.GpuDelegateFactory$Options",
        "org.tensorflow.lite.nnapi.NnApiDelegateImpl",
    } <= classes


def test_its_native_libraries_can_be_mapped_from_the_apk(apk, manifest):
    with zipfile.ZipFile(apk) as archive:
        libraries = {info.filename: info for info in archive.infolist() if info.filename.startswith("lib/")}
    offsets = data_offsets(apk)

    assert set(libraries) == {f"lib/{abi}/{library}" for abi in ABIS for library in (RUNTIME, GPU, LIBRARY)}
    assert {info.compress_type for info in libraries.values()} == {zipfile.ZIP_STORED}
    assert {offsets[name] % LARGE_PAGE for name in libraries} == {0}
    assert "extractNativeLibs(0x010104ea)=false" in manifest


def test_its_resources_are_uncompressed_and_aligned_as_api_level_30_demands(apk):
    with zipfile.ZipFile(apk) as archive:
        assert archive.getinfo("resources.arsc").compress_type == zipfile.ZIP_STORED
    assert data_offsets(apk)["resources.arsc"] % 4 == 0


def test_its_native_libraries_have_4_kb_segments_as_the_readme_says(apk):
    """Not what one would wish: devices with 16 kB pages need another runtime. Fails when that changes."""
    with zipfile.ZipFile(apk) as archive:
        alignments = {
            alignment
            for name in archive.namelist()
            if name.startswith("lib/") and not name.endswith(LIBRARY)
            for alignment in segment_alignments(archive.read(name))
        }

    assert alignments == {PAGE}


@pytest.mark.parametrize("abi", ABIS)
def test_its_own_library_needs_no_other_and_has_16_kb_segments(apk, abi, tmp_path):
    with zipfile.ZipFile(apk) as archive:
        library = archive.read(f"lib/{abi}/{LIBRARY}")
    (tmp_path / LIBRARY).write_bytes(library)

    dynamic = _output(["readelf", "--wide", "--dynamic", "--dyn-syms", tmp_path / LIBRARY])

    assert segment_alignments(library) == {LARGE_PAGE}
    assert "NEEDED" not in dynamic and "TEXTREL" not in dynamic
    assert re.search(r"FUNC +GLOBAL +DEFAULT +\d+ Java_org_nnlite_benchmark_Affinity_set$", dynamic, re.M)


@pytest.mark.parametrize("abi", ABIS)
def test_the_runtime_has_the_log_line_by_which_the_app_counts_delegated_nodes(apk, abi):
    with zipfile.ZipFile(apk) as archive:
        runtime = archive.read(f"lib/{abi}/{RUNTIME}")
        gpu = archive.read(f"lib/{abi}/{GPU}")
        dex = archive.read("classes.dex")

    line = b"Replacing %d out of %d node(s) with delegate (%s) node, yielding %zu partitions"
    assert line in runtime
    assert b"TfLiteXNNPackDelegate\0" in runtime
    assert b"TfLiteNnapiDelegate\0" in runtime
    assert b"TfLiteGpuDelegateV2\0" in gpu
    assert b"NativeInterpreterWrapper_getExecutionPlanLength\0" in runtime
    assert dex.count(b"getExecutionPlanLength\0") == 1


def test_another_build_is_bit_for_bit_the_same_but_for_the_signature(apk, tmp_path):
    again = tmp_path / "another folder" / "again.apk"
    again.parent.mkdir()
    _output([sys.executable, "-m", "apk", "--unsigned", again], folder=REPOSITORY / "tools")

    # The signature comes between the files and the directory of their names, places and checksums.
    with zipfile.ZipFile(apk) as signed, zipfile.ZipFile(again) as unsigned:
        assert apk.read_bytes()[: unsigned.start_dir] == again.read_bytes()[: unsigned.start_dir]
        places = [
            [(info.filename, info.header_offset, info.CRC) for info in archive.infolist()]
            for archive in (signed, unsigned)
        ]
    assert places[0] == places[1]


def _output(command: list[str | Path], folder: Path | None = None) -> str:
    result = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def _elements(manifest: str, name: str) -> list[str]:
    """Return each element of that name with its attributes."""
    return re.findall(rf"E: {name} .*\n((?:\s+A: .*\n?)+)", manifest)
