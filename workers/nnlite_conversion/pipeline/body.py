"""The body of a conversion child: runs the pipeline and sends its report, or its failure, to the worker.

Outermost frame of all model code. It runs in the sandboxed child, in its private folder.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from nnlite.errors import Failure, FailureClass
from nnlite.settings.groups import ConversionSettings
from nnlite.vocabulary import ModelFormat
from nnlite_conversion import explanations
from nnlite_conversion.messages import (
    Answer,
    Enter,
    Evaluated,
    Explanation,
    Preflight,
    Refusal,
    StageStarted,
    send,
)
from nnlite_conversion.outcome import ConversionJob
from nnlite_conversion.pipeline import accelerator
from nnlite_conversion.pipeline.evaluate import evaluate_model
from nnlite_conversion.pipeline.explaining.explain import explain_model
from nnlite_conversion.pipeline.loading.load import ModelSkipped
from nnlite_conversion.pipeline.lowering import fast_lowering
from nnlite_conversion.pipeline.prebuilt import check_prebuilt
from nnlite_conversion.pipeline.preflight import preflight_model
from nnlite_conversion.pipeline.stages import convert_model

#: What gives each answer but the report of a conversion.
_PIPELINES: dict[str, Callable[[ConversionJob, ConversionSettings, Enter], Answer]] = {
    Explanation.kind: explain_model,
    Preflight.kind: preflight_model,
    Evaluated.kind: evaluate_model,
}


def run(kind: str, job: ConversionJob, settings: ConversionSettings, messages_fd: int) -> None:
    """Run in the current process and folder what gives an answer of `kind`; every error becomes a message."""
    pipeline = _PIPELINES.get(kind) or partial(
        check_prebuilt if job.model.model_format is ModelFormat.PREBUILT else convert_model,
        begin=lambda begun: send(messages_fd, begun),
    )
    torch.set_num_threads(settings.threads)
    accelerator.use(job.gpu)
    fast_lowering.use(settings.shortcuts)
    # torch.compile, in the model's code, leaves its functions as they are: it would need a compiler of C++.
    torch.compiler.set_stance("force_eager")
    try:
        send(messages_fd, pipeline(job, settings, lambda stage: send(messages_fd, StageStarted(stage=stage))))
    except ModelSkipped as skipped:
        send(messages_fd, Refusal(failure_class=FailureClass.MODEL, reason=skipped.reason))
    except Exception as error:  # noqa: BLE001  (the outermost frame: the worker must learn of every error)
        send(messages_fd, _refusal(error))


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, Failure):
        return Refusal.model_validate(
            {"failure_class": error.failure_class, "reason": error.reason, "details": error.details}
        )
    failure_class = FailureClass.CONVERTER
    if isinstance(error, MemoryError):
        reason = "the child ran out of memory"
    elif explanations.is_full_disk(error):
        failure_class = FailureClass.INFRASTRUCTURE
        reason = f"no space left in {Path.cwd()}; free some and the work goes on"
    else:
        reason = f"the converter itself failed: {explanations.summary(error)}"
    return Refusal(failure_class=failure_class, reason=reason, details=explanations.details(error))
