"""Networks of LEMUR whose task takes or gives more than tensors, as a conversion child loads them."""

import pytest
import torch

from nnlite.catalog.model import SEEDED_WEIGHTS, ModelInput, ModelSpec
from nnlite.errors import Failure
from nnlite.vocabulary import ModelFormat, Precision
from nnlite_conversion.outcome import ConversionJob
from nnlite_conversion.pipeline.loading import load as loading
from nnlite_conversion.pipeline.loading.transforms import input_shape

IMAGE = ModelInput(shape=(1, 3, 32, 48))
CAPTION = ModelInput(shape=(1, 20), dtype="int64")

DETECTOR = """
import torch
from torchvision.models.detection.transform import GeneralizedRCNNTransform

class Head(torch.nn.Module):
    def forward(self, features):
        return {"cls_logits": features[0].flatten(1), "bbox_regression": features[1]}

class Net(torch.nn.Module):
    def __init__(self, in_shape, out_shape, prm, device):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.transform = GeneralizedRCNNTransform(64, 128, [0.5] * 3, [0.25] * 3)
        self.head = Head()

    def backbone(self, image):
        return {"0": image * self.scale, "1": image[:, :1]}

    def forward(self, images, targets=None):
        kept = [image for image in images if image.mean() > 100]
        return [{"boxes": torch.cat(kept) if kept else torch.zeros(0)}]
"""

CAPTIONER = """
import torch
from ab.nn.loader.coco_.Caption import GLOBAL_CAPTION_VOCAB

class Net(torch.nn.Module):
    def __init__(self, in_shape, out_shape, prm, device):
        super().__init__()
        self.words = torch.nn.Embedding(out_shape[0], 4)
        self.known = GLOBAL_CAPTION_VOCAB["word2idx"]
        assert self.known["<PAD>"] == 0 and len(self.known) == out_shape[0]

    def forward(self, images, captions=None, hidden_state=None):
        return self.words(captions[:, :-1]) + images.mean(), captions
"""

RESTORER = """
import torch
from torchvision.models import resnet18

class Net(torch.nn.Module):
    def __init__(self, in_shape, out_shape, prm, device):
        super().__init__()
        assert out_shape == (3, 256, 256)
        self.layer = torch.nn.Linear(1, 1)
        self.layer.load_state_dict({"weight": torch.ones(1, 1), "bias": torch.zeros(1)})
        self.features = resnet18(weights="IMAGENET1K_V1").conv1

    def forward(self, x):
        return self.features(x)
"""


@pytest.fixture
def load(tmp_path):
    def run(code: str, task: str, dataset: str, **fields) -> loading.Loaded:
        spec = ModelSpec(
            name="net",
            task=task,
            dataset=dataset,
            code=code,
            transform_code=None,
            weights=SEEDED_WEIGHTS,
            model_format=ModelFormat.LEMUR,
            **fields,
        )
        job = ConversionJob(
            model=spec, model_file=None, precisions=(Precision.FP32,), max_parameters=20_000_000
        )
        return loading.load(job, tmp_path)[0]

    return run


def test_a_detector_gives_its_raw_heads_for_one_image(load):
    loaded = load(DETECTOR, "obj-detection", "coco", input_shape=IMAGE.shape, classes=6)
    logits, boxes = loaded.expected
    # Resized from 32 x 48 to a shorter side of 64, and padded to multiples of 32.
    assert logits.shape == (1, 3 * 64 * 96)
    assert boxes.shape == (1, 1, 64, 96)
    image = torch.from_numpy(loaded.samples[0]).permute(0, 3, 1, 2)
    network = loaded.module.network.network
    batch, _ = network.transform([image[0]])
    torch.testing.assert_close(torch.from_numpy(boxes), batch.tensors[:, :1], atol=1e-5, rtol=1e-5)
    torch.export.export(loaded.module, loaded.tensors)


def test_a_detector_without_such_parts_is_refused_by_name(load):
    headless = DETECTOR.replace("self.head =", "self.heads =")
    with pytest.raises(Failure) as failure:
        load(headless, "obj-detection", "coco", input_shape=IMAGE.shape)
    assert "the detector has no head" in failure.value.reason


def test_a_captioning_network_has_a_vocabulary_and_gives_its_words_only(load):
    loaded = load(CAPTIONER, "img-captioning", "coco", classes=50, inputs=(IMAGE, CAPTION))
    assert [sample.shape for sample in loaded.samples] == [(1, 32, 48, 3), (1, 20)]
    (words,) = loaded.expected
    assert words.shape == (1, 19, 4)


def test_a_captioning_network_whose_image_only_the_child_knows_gets_words_too(load):
    loaded = load(CAPTIONER, "img-captioning", "coco", classes=50, input_shape=IMAGE.shape)
    assert len(loaded.samples) == 2


DECODER = """
import torch

class Net(torch.nn.Module):
    def __init__(self, in_shape, out_shape, prm, device):
        super().__init__()
        self.words = torch.nn.Embedding(out_shape[0], 8)
        layer = torch.nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
        self.decoder = torch.nn.TransformerDecoder(layer, 1)

    def forward(self, images, captions=None):
        mask = torch.nn.Transformer.generate_square_subsequent_mask(captions.shape[1])
        memory = images.mean((1, 2, 3)).reshape(1, 1, 1).expand(1, 1, 8)
        return self.decoder(self.words(captions), memory, tgt_mask=mask)
"""


def test_a_decoder_that_looks_into_its_mask_is_exported(load):
    loaded = load(DECODER, "img-captioning", "coco", classes=50, inputs=(IMAGE, CAPTION))
    exported = torch.export.export(loaded.module, loaded.tensors, strict=False).module()
    torch.testing.assert_close(exported(*loaded.tensors), torch.from_numpy(loaded.expected[0]))
    plain = loaded.module.network.network
    image, words = loaded.tensors
    torch.testing.assert_close(
        plain(image.permute(0, 3, 1, 2), words), torch.from_numpy(loaded.expected[0]), atol=1e-5, rtol=1e-5
    )


def test_weights_that_torchvision_would_download_stay_as_drawn(load):
    loaded = load(RESTORER, "img-denoising", "denoise", input_shape=IMAGE.shape, classes=3)
    again = load(RESTORER, "img-denoising", "denoise", input_shape=IMAGE.shape, classes=3)
    assert loaded.state_dict_sha256 == again.state_dict_sha256
    assert loaded.module.network.layer.weight.item() == 1, "the network's own loading works"


PAIR = """
class Crop:
    def __call__(self, small, large):
        assert tuple(large.shape[-2:]) == (384, 384)
        return small[:, :64, :64], large[:, :192, :192]

transform = Crop()
"""


@pytest.mark.parametrize(
    ("code", "side"),
    [
        (PAIR, 64),
        (PAIR.replace("transform = Crop()", "def transform(norm=None):\n    return Crop()"), 64),
        ("def transform(norm):\n    raise_if_called = None\n    return raise_if_called", 128),
    ],
)
def test_super_resolution_takes_what_its_loader_cuts(code, side):
    shape = input_shape(code, "crop", "div2k", variable_size=256)
    assert shape.batch_of_one == (1, 3, side, side)
