"""An app whose libraries a device's memory pages cannot map is found before it is installed."""

import struct
import zipfile

import pytest

from nnlite_benchmark.android.app.page_size import page_size, too_small


def elf(*alignments, magic=b"\x7fELF\x02\x01"):
    """Return an ELF-64 file that has nothing but headers of loaded segments, and one of another kind."""
    segments = [(1, alignment) for alignment in alignments] + [(2, 8)]
    header = magic.ljust(32, b"\0") + struct.pack("<QQIHHH", 64, 0, 0, 64, 56, len(segments))
    return header.ljust(64, b"\0") + b"".join(
        struct.pack("<II", kind, 0) + bytes(40) + struct.pack("<Q", alignment) for kind, alignment in segments
    )


@pytest.fixture
def apk(tmp_path):
    def make(**libraries):
        file = tmp_path / "app.apk"
        with zipfile.ZipFile(file, "w") as package:
            package.writestr("classes.dex", b"dex")
            for name, content in libraries.items():
                package.writestr(f"lib/arm64-v8a/{name}.so", content)
                package.writestr(f"lib/x86_64/{name}.so", elf(65536))
        return file

    return make


def test_libraries_of_the_devices_own_abi_count(apk):
    package = apk(libruntime=elf(16384, 4096), libother=elf(16384))

    assert too_small(package, "arm64-v8a", 16384) == {"libruntime.so": 4096}
    assert too_small(package, "arm64-v8a", 4096) == {}
    assert too_small(package, "x86_64", 65536) == {}


@pytest.mark.parametrize(
    "content", [b"", b"no library", elf(4096)[:100], elf(4096, magic=b"\x7fELF\x01\x01")]
)
def test_a_damaged_library_is_an_error(apk, content):
    with pytest.raises(ValueError, match=r"read|64-bit"):
        too_small(apk(libruntime=content), "arm64-v8a", 4096)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096\n", 4096),
        ("16384", 16384),
        ("", None),
        ("sh: getconf: not found", None),
        ("-1", None),
        ("5000", None),
    ],
)
def test_the_page_size_is_one_that_exists(text, size):
    assert page_size(text) == size
