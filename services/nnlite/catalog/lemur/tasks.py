"""LEMUR's tasks: what their networks take, and which task a model without trials is for.

Sources: the loaders of nn-dataset 2.1.2 and 2.2.11 (`ab/nn/loader`) and the models' own `forward`.
"""

from nnlite.catalog.model import ModelInput
from nnlite.catalog.untrusted.source_text import forward_parameters

CLASSIFICATION = "img-classification"
DETECTION = "obj-detection"
CAPTIONING = "img-captioning"
TEXT_GENERATION = "txt-generation"
TEXT_TO_IMAGE = "txt-image"

#: Tasks whose networks take one image; super-resolution has three names in LEMUR's history.
IMAGE_TASKS = frozenset({
    CLASSIFICATION, "img-segmentation", "age-regression", "img-denoising", DETECTION,
    "img-super-resolution", "super-resolution", "img-sr",
})  # fmt: skip
#: Tasks whose networks have inputs that are known.
SUPPORTED_TASKS = IMAGE_TASKS | {CAPTIONING, TEXT_GENERATION}

#: Datasets of texts.
TEXT_DATASETS = ("wikitext",)
#: Words of a caption and characters of a text, as the loaders and the models' own decoding have them.
CAPTION_LENGTH = 20
TEXT_LENGTH = 128

#: Which parameter of `forward` shows that a network is no classifier.
_TASK_BY_PARAMETER = {
    "targets": DETECTION,
    "captions": CAPTIONING,
    "text_prompts": TEXT_TO_IMAGE,
    "prompts": TEXT_TO_IMAGE,
}


def token_inputs(task: str) -> tuple[ModelInput, ...]:
    """Return the inputs of token ids that a network of `task` takes, after its image if it takes one."""
    if task == CAPTIONING:
        return (ModelInput(shape=(1, CAPTION_LENGTH), dtype="int64"),)
    if task == TEXT_GENERATION:
        return (ModelInput(shape=(1, TEXT_LENGTH), dtype="int64"),)
    return ()


def task_of_code(code: str) -> str | None:
    """Return the task that the parameters of `Net.forward` show; None: they show none but a classifier's."""
    parameters = forward_parameters(code)
    return next((task for name, task in _TASK_BY_PARAMETER.items() if name in parameters), None)


def why_unsupported(task: str, code: str) -> str | None:
    """Return why a model of `task` is skipped, or None."""
    if task not in SUPPORTED_TASKS | {TEXT_TO_IMAGE}:
        return f"task {task}: its input cannot be derived from its training records"
    if task == DETECTION and "roi_heads" in code:
        return (
            f"task {task}: it has two stages, and the second one crops regions that depend on the image, "
            "which .tflite networks cannot"
        )
    if task in {CAPTIONING, TEXT_TO_IMAGE} and "from_pretrained" in code:
        return f"task {task}: it loads a tokenizer or an encoder from the network (from_pretrained)"
    if task == TEXT_TO_IMAGE:
        return f"task {task}: it takes text, and which of its parts takes token ids cannot be told"
    return None
