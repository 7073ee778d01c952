"""Jobs of devices: one for an artifact and number of threads, within the cores of the device."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnlite.backends import CPU_BACKENDS, format_of
from nnlite.db.rows import from_row
from nnlite.db.tables import Artifact
from nnlite.host.cores import chosen_cores
from nnlite.reports.schema import Accuracy
from nnlite.settings.groups import MeasurementSettings
from nnlite.vocabulary import Backend, Mode, ParityState, Precision, Refusal
from nnlite_benchmark.device import BenchmarkJob, Device, InputSpec
from nnlite_benchmark.protocol.measuring import refusal, refused_run


def job_of(
    artifact: Artifact, model_name: str, file: Path, expected: tuple[Path, ...], mode: Mode = Mode.STANDARD
) -> BenchmarkJob:
    """Return the benchmark job of an artifact.

    Args:
        artifact: its row.
        model_name: for messages.
        file: the artifact's file, fetched from the store.
        expected: files with the host's outputs, fetched from the store; empty: there are none.
        mode: of the campaign.
    """
    return BenchmarkJob(
        artifact=file,
        artifact_sha256=artifact.sha256,
        model_name=model_name,
        precision=Precision(artifact.precision),
        inputs=tuple(_input(tensor) for tensor in artifact.inputs["tensors"]),
        seed=artifact.seed,
        expected_outputs=expected or None,
        output_steps=tuple(tensor.get("step") for tensor in artifact.outputs["tensors"]),
        artifact_parity=ParityState(artifact.parity_state),
        mode=mode,
    )


def accuracy_of(payload: Mapping[str, Any]) -> Accuracy | None:
    """Return the artifact's accuracy from a claim's payload; None: it was not measured."""
    row = payload["evaluation"]
    if row is None or row["samples"] is None:
        return None
    of_row = {name: row[name] for name in Accuracy.model_fields if name in row}
    return Accuracy(**(of_row | {"data": row["name"]}))


def backends_of(payload: Mapping[str, Any]) -> list[Backend]:
    """Return those of the campaign's backends that execute the claimed artifact's format."""
    artifact_format = from_row(Artifact, payload["artifact"]).format
    backends = map(Backend, payload["backends"])
    return [backend for backend in backends if format_of(backend) is artifact_format]


def with_threads(job: BenchmarkJob, backend: Backend, threads: Sequence[int] | None) -> list[BenchmarkJob]:
    """Return the job with each number of threads; unchanged without, and where the backend is not the CPU."""
    if not threads or backend not in CPU_BACKENDS:
        return [job]
    return [replace(job, threads=number) for number in threads]


def with_cores(
    job: BenchmarkJob, backend: Backend, device: Device, settings: MeasurementSettings, stop: threading.Event
) -> BenchmarkJob:
    """Return the job with the cores of the device that it asks for.

    Raises:
        RuntimeRefusal: the device has none of them; its `report` is the measurement to record.
        DeviceFailure, Stopped: as `Device.run`.
    """
    if not job.asked_cores:
        return job
    try:
        return replace(job, cores=chosen_cores(job.asked_cores, device.highest_khz(stop)))
    except ValueError as problem:
        error = f"--cores {job.asked_cores} on {device.name}: {problem}"
        run = refused_run(error, threads=job.in_force(settings).threads, by=Refusal.TOO_FEW_CORES)
        raise refusal(job, backend, run, settings) from problem


def check_cores(job: BenchmarkJob, backend: Backend, device: Device, settings: MeasurementSettings) -> None:
    """Check that the device has a core for each thread that the campaign asks for.

    Raises:
        RuntimeRefusal: it has not; its `report` is the measurement to record.
    """
    if job.threads is None:
        return
    cores = min(device.context().usable_cores, len(job.cores) or job.threads)
    if job.threads <= cores:
        return
    error = f"{job.threads} threads were asked for, {device.name} measures on {cores} cores"
    run = refused_run(error, threads=job.threads, by=Refusal.TOO_FEW_CORES)
    raise refusal(job, backend, run, settings)


def _input(tensor: dict[str, Any]) -> InputSpec:
    quantization = tensor["quantization"]
    return InputSpec(
        name=tensor["name"],
        shape=tuple(tensor["shape"]),
        dtype=tensor["dtype"],
        quantization=(quantization["scales"][0], quantization["zero_points"][0]) if quantization else None,
    )
