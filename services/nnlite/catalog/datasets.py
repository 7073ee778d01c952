"""The image datasets that LEMUR's models were trained on: what their pictures look like, how many classes.

Sources: `ab/nn/loader/*.py` of nn-dataset 2.1.2 and the datasets' own descriptions.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ImageDataset:
    """What the shape of a model's input and output follows from."""

    #: Length of the output vector; for segmentation, classes per pixel.
    classes: int
    #: (width, height) of every picture, pixels; None where they differ.
    size: tuple[int, int] | None
    #: 3 for RGB, 1 for grey.
    channels: int = 3


DATASETS = {
    "cifar-10": ImageDataset(classes=10, size=(32, 32)),
    "cifar-100": ImageDataset(classes=100, size=(32, 32)),
    "svhn": ImageDataset(classes=10, size=(32, 32)),
    "mnist": ImageDataset(classes=10, size=(28, 28), channels=1),
    "celeba-gender": ImageDataset(classes=2, size=(178, 218)),
    "imagenette": ImageDataset(classes=10, size=None),
    "places365": ImageDataset(classes=365, size=None),
    "coco": ImageDataset(classes=6, size=None),
}
