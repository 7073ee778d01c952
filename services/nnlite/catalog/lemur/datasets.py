"""The image datasets that LEMUR's models were trained on: size, channels and outputs.

Sources: `ab/nn/loader/*.py` of nn-dataset 2.1.2 and 2.2.11 and the datasets' own descriptions.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ImageDataset:
    """Attributes of a dataset that decide the shapes of a model's input and output."""

    #: Length of the output vector; for segmentation, classes per pixel; for restored pictures, channels.
    classes: int
    #: (width, height) of every picture, pixels; None where they differ.
    size: tuple[int, int] | None
    #: 3 for RGB, 1 for grey.
    channels: int = 3
    #: Mean and deviation of each channel that transforms normalize with.
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    deviation: tuple[float, ...] = (0.229, 0.224, 0.225)
    #: Output shape that the loader announces to a network; None: `(classes,)`.
    out_shape: tuple[int, ...] | None = None
    #: For pairs of a small and a large picture: the factor between them. The loader then applies only
    #: transforms that take a pair of tensors.
    scale: int | None = None


DATASETS = {
    "cifar-10": ImageDataset(
        classes=10, size=(32, 32), mean=(0.4914, 0.4822, 0.4465), deviation=(0.2470, 0.2435, 0.2616)
    ),
    "cifar-100": ImageDataset(
        classes=100, size=(32, 32), mean=(0.5071, 0.4867, 0.4408), deviation=(0.2675, 0.2565, 0.2761)
    ),
    "svhn": ImageDataset(
        classes=10, size=(32, 32), mean=(0.4377, 0.4438, 0.4728), deviation=(0.1980, 0.2010, 0.1970)
    ),
    "mnist": ImageDataset(classes=10, size=(28, 28), channels=1, mean=(0.1307,), deviation=(0.3081,)),
    "celeba-gender": ImageDataset(classes=2, size=(178, 218)),
    "imagenette": ImageDataset(classes=10, size=None),
    "places365": ImageDataset(classes=365, size=None),
    "coco": ImageDataset(
        classes=6, size=None, mean=(104.01362025, 114.03422265, 119.9165958),
        deviation=(73.6027665, 69.89082075, 70.9150767),
    ),
    "imagenet": ImageDataset(classes=1000, size=None),
    "imagenet100": ImageDataset(classes=100, size=None),
    "utkface": ImageDataset(classes=1, size=None),
    "imdb_wiki": ImageDataset(classes=1, size=None),
    "denoise": ImageDataset(classes=3, size=(256, 256), out_shape=(3, 256, 256)),
    # Its pictures vary: this is the size of the patches that its loader trains on.
    "div2k": ImageDataset(classes=3, size=(128, 128), out_shape=(3, 2160, 3840), scale=3),
    "div2kv2": ImageDataset(classes=3, size=(128, 128), out_shape=(3, 2160, 3840), scale=3),
}  # fmt: skip
