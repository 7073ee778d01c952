"""NVIDIA GPUs as the driver lists them: `nnlite.host.gpu`."""

from pathlib import Path

import pytest

from nnlite.host.gpu import nvidia_gpus

CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC ..."
OPEN = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.16  Release Build  (dvs-builder@U16)\n"
)
INFORMATION = (
    "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 18\nGPU UUID: \t GPU-1b2c\nVideo BIOS: \t 96.00\n"
)


@pytest.mark.parametrize(("version", "driver"), [(CLOSED, "535.104.05"), (OPEN, "570.86.16")])
def test_gpu_models_and_the_driver_version_are_read(tmp_path, version, driver):
    (tmp_path / "version").write_text(version)
    for place in ("0000:17:00.0", "0000:65:00.0"):
        (tmp_path / "gpus" / place).mkdir(parents=True)
        (tmp_path / "gpus" / place / "information").write_text(INFORMATION)
    assert nvidia_gpus(tmp_path) == (["NVIDIA H100 80GB HBM3"] * 2, driver)


def test_without_the_driver_there_is_no_gpu(tmp_path: Path):
    assert nvidia_gpus(tmp_path / "nvidia") == ([], "")
