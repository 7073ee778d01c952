"""What fits a machine, as lines that docker compose reads from `.env`."""

import io

import pytest
from dotenv import dotenv_values

from nnlite.diagnostics.compose_env import compose_env, ranges
from nnlite.host.cores import Cores, choose_cores
from nnlite.vocabulary import QuietMode


def printed(cores: Cores, memory_gb: int) -> tuple[dict[str, str | None], list[str]]:
    lines = list(compose_env(cores, memory_gb * 1024))
    return dotenv_values(stream=io.StringIO("\n".join(lines))), [
        line for line in lines if line.startswith("#")
    ]


def machine(count: int, tmp_path) -> Cores:
    return choose_cores(available=range(count), topology=tmp_path)


def test_a_large_machine_gets_separate_cores_which_the_settings_accept(tmp_path):
    values, _ = printed(machine(16, tmp_path), 64)
    assert values == {
        "LAB_CONVERT_CPUSET": "0-7",
        "LAB_BENCHMARK_CPUSET": "8-15",
        "LAB_CONVERT_CONCURRENCY": "8",
        "LAB_CONVERT_CPUS": "8",
        "LAB_CONVERT_MEMORY": "49152m",
        "LAB_CONVERSION_MEMORY_MB": "6144",
    }
    cores = choose_cores(
        values["LAB_BENCHMARK_CPUSET"], values["LAB_CONVERT_CPUSET"], available=range(8), topology=tmp_path
    )
    assert (cores.mode, cores.converting) == (QuietMode.PINNED_CORES, tuple(range(8)))


def test_a_small_machine_is_time_sliced_and_the_output_says_so(tmp_path):
    values, comments = printed(machine(2, tmp_path), 16)
    assert not {"LAB_CONVERT_CPUSET", "LAB_BENCHMARK_CPUSET"} & set(values)
    assert any("take turns, by lock files" in line for line in comments)
    assert values["LAB_CONVERT_CONCURRENCY"] == "2"


@pytest.mark.parametrize(("cores", "memory_gb"), [(1, 4), (2, 8), (8, 8), (64, 32), (128, 1024)])
def test_the_limits_fit_the_machine_and_hold_a_conversion(tmp_path, cores, memory_gb):
    values, _ = printed(machine(cores, tmp_path), memory_gb)
    memory_mb = int(values["LAB_CONVERT_MEMORY"].removesuffix("m"))
    assert 1 <= int(values["LAB_CONVERT_CPUS"]) <= cores
    assert 2048 <= int(values["LAB_CONVERSION_MEMORY_MB"]) < memory_mb <= memory_gb * 1024 * 3 // 4
    assert int(values["LAB_CONVERT_CONCURRENCY"]) * 2048 < memory_mb


@pytest.mark.parametrize(("cores", "text"), [((0, 4, 1, 5), "0-1,4-5"), ((3,), "3"), ((0, 2, 3), "0,2-3")])
def test_cores_are_written_as_the_kernel_writes_them(cores, text):
    assert ranges(cores) == text
