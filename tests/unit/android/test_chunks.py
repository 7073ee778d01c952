"""Chunks and output files are validated against the report; delegation is parsed from the log."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlite.reports.schema import Delegation, Output, RunFile, RunReport
from nnlite.vocabulary import Backend, Stage
from nnlite_benchmark.android.app.chunks import MAX_FILES, Chunk, ChunkAssembler, check_files, file_names
from nnlite_benchmark.android.app.delegation import agreed_delegation, logged_delegation
from nnlite_benchmark.protocol.delegation_log import logged


def delegations(text):
    return [Delegation(**line) for line in logged(text)]


def part(number, count, data=b"x", file="output_0.raw"):
    return Chunk(file=file, index=number, count=count, data=data)


def report_of(raw, *, size_bytes=None, sha256=None, file="output_0.raw", samples=None):
    output = Output(
        name="y",
        dtype="int8",
        shape=(len(raw),),
        file=file,
        size_bytes=size_bytes,
        sha256=sha256 or hashlib.sha256(raw).hexdigest(),
    )
    return RunReport(
        runtime="TFLite",
        runtime_version="2.16.1",
        threads=1,
        stage=Stage.RUN,
        outputs=(output,),
        samples_file=samples,
    )


@given(data=st.data(), raw=st.binary(min_size=1, max_size=200))
def test_chunks_in_any_order_give_the_file(tmp_path_factory, data, raw):
    folder = tmp_path_factory.mktemp("chunks")
    size = data.draw(st.integers(1, len(raw)))
    cut = [raw[start : start + size] for start in range(0, len(raw), size)]
    assembler = ChunkAssembler()
    for number in data.draw(st.permutations(range(len(cut)))):
        assembler.add(part(number, len(cut), cut[number]))

    assert assembler.write(folder) == (folder / "output_0.raw",)
    assert (folder / "output_0.raw").read_bytes() == raw


def test_an_empty_file_is_a_file(tmp_path):
    assembler = ChunkAssembler()
    assembler.add(part(0, 1, b""))
    assembler.write(tmp_path)

    assert (tmp_path / "output_0.raw").read_bytes() == b""


def test_a_missing_chunk_is_named_and_nothing_is_written(tmp_path):
    assembler = ChunkAssembler()
    assembler.add(part(0, 1, file="samples.z"))
    assembler.add(part(0, 3))
    assembler.add(part(2, 3))

    with pytest.raises(ValueError, match=r"chunk 1 of 3 of output_0.raw is missing"):
        assembler.write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("chunks", "why"),
    [
        ([part(0, 2), part(0, 2)], "was sent twice"),
        ([part(0, 2), part(1, 3)], "has 2 chunks, then 3"),
        ([part(2, 2)], "outside its 2 chunks"),
        ([part(0, 0)], "outside its 0 chunks"),
        ([part(0, 2, b"x" * 60), part(1, 2, b"x" * 60)], "limit of 100 bytes"),
        ([part(0, 1, b"", file=f"{n}.raw") for n in range(MAX_FILES + 1)], "limit of"),
    ],
)
def test_inconsistent_chunks_are_rejected(chunks, why):
    assembler = ChunkAssembler(max_bytes=100)

    with pytest.raises(ValueError, match=why):
        for chunk in chunks:
            assembler.add(chunk)


@pytest.mark.parametrize(
    "file",
    ["", ".", "..", "../x", "/etc/passwd", "a/b", "a b", "a\0b", ".hidden", "-rf", "x\n", "é", "x" * 101],
)
def test_names_with_a_path_are_rejected(file, tmp_path):
    with pytest.raises(ValueError, match="plain name"):
        ChunkAssembler().add(part(0, 1, file=file))
    with pytest.raises(ValueError, match="plain name"):
        check_files(report_of(b"x", file=file), tmp_path)
    with pytest.raises(ValueError, match="plain name"):
        file_names(report_of(b"x", file=file))


def test_file_names_of_a_report_are_unique():
    samples = RunFile(file="samples.z", size_bytes=1, sha256="0" * 64)
    report = report_of(b"x", samples=samples)

    assert file_names(report) == ("output_0.raw", "samples.z")
    with pytest.raises(ValueError, match=r"output_0.raw twice"):
        file_names(report.model_copy(update={"outputs": report.outputs * 2}))


def test_files_that_match_the_report_pass(tmp_path):
    (tmp_path / "output_0.raw").write_bytes(b"abc")
    (tmp_path / "samples.z").write_bytes(b"z")
    samples = RunFile(file="samples.z", size_bytes=1, sha256=hashlib.sha256(b"z").hexdigest())

    check_files(report_of(b"abc", size_bytes=3, samples=samples), tmp_path)


def test_a_file_that_differs_or_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"output_0.raw cannot be read: No such file"):
        check_files(report_of(b"abc"), tmp_path)
    (tmp_path / "output_0.raw").write_bytes(b"abc")
    with pytest.raises(ValueError, match=r"output_0.raw has 3 bytes; its report says 4"):
        check_files(report_of(b"abc", size_bytes=4), tmp_path)
    with pytest.raises(ValueError, match=r"output_0.raw has sha256 ba7816bf.*; its report says 000"):
        check_files(report_of(b"abc", size_bytes=3, sha256="0" * 64), tmp_path)
    samples = RunFile(file="samples.z", size_bytes=1, sha256="0" * 64)
    with pytest.raises(ValueError, match=r"samples.z cannot be read"):
        check_files(report_of(b"abc", samples=samples), tmp_path)


# The counts of the first two lines were printed by a phone with an MT6899; the third is TFLite 2.4's form.
LOG = """\
09-24 04:55:01.123  4711  4711 I tflite  : Replacing 5 out of 64 node(s) with delegate (TfLiteNnapiDelegate) node, yielding 5 partitions for the whole graph.
09-24 04:55:01.124  4711  4711 I tflite  : Replacing 59 out of 62 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 5 partitions for the whole graph.
09-24 04:55:01.125  4711  4711 I tflite  : Replacing 1 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 1 partitions.
09-24 04:55:01.126  4711  4711 I tflite  : Replacing 518 out of 518 node(s) with delegate (TfLiteQnnDelegate) node
"""  # noqa: E501


def test_delegated_nodes_are_parsed_from_the_log():
    counts = [(d.delegate, d.delegated_nodes, d.total_nodes, d.partitions) for d in delegations(LOG)]

    assert counts == [
        ("TfLiteNnapiDelegate", 5, 64, 5),
        ("TfLiteXNNPackDelegate", 59, 62, 5),
        ("TfLiteQnnDelegate", 518, 518, None),
    ]
    assert all(d.counted_from == "log" for d in delegations(LOG))


@given(st.text(), st.integers(0), st.integers(0))
def test_any_log_gives_valid_counts(name, taken, total):
    text = (
        f"Replacing {taken} out of {total} node(s) with delegate ({name}) node, yielding {total} partitions"
    )

    assert all(0 <= d.delegated_nodes < 2**53 for d in delegations(name + text))


def counted(nodes):
    return Delegation(delegate="d", delegated_nodes=nodes, total_nodes=9, counted_from="log")


@pytest.mark.parametrize(
    ("reported", "logged", "agreed"),
    [(5, 5, 5), (5, 3, 3), (3, 5, 3), (None, 3, 3), (5, None, 5), (None, None, None)],
)
def test_the_smaller_of_two_counts_is_used(reported, logged, agreed):
    counts = [None if nodes is None else counted(nodes) for nodes in (reported, logged)]
    result = agreed_delegation(*counts)
    assert (result and result.delegated_nodes) == agreed


def test_several_lines_of_a_delegate_are_summed():
    line = "Replacing {} out of 9 node(s) with delegate ({}) node, yielding {} partitions."
    text = "\n".join(
        line.format(*values)
        for values in [
            (2, "TfLiteGpuDelegateV2", 3),
            (9, "TfLiteXNNPackDelegate", 1),
            (4, "TfLiteGpuDelegateV2", 2),
        ]
    )
    result = logged_delegation(text, Backend.GPU)
    assert (result.delegated_nodes, result.total_nodes, result.partitions) == (6, 18, 5)
    assert logged_delegation(line.format(9, "TfLiteXNNPackDelegate", 1), Backend.NPU) is None
    assert logged_delegation(line.format(9, "LITERT_CL", 1), Backend.GPU).delegate == "LITERT_CL"
