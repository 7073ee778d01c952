"""Models of every task of LEMUR: what their networks take, and which are skipped for what they need."""

import pytest

from nnlite.catalog.lemur.source import LemurSource
from nnlite.catalog.model import CatalogError, ModelInput
from nnlite.catalog.untrusted.source_text import forward_parameters, required_hyperparameters
from unit.catalog.copies import MODEL, Lemur, trial


def net(forward: str, body: str = "") -> str:
    return f"class Net(torch.nn.Module):\n    def forward(self, {forward}):\n        pass\n{body}"


CAPTIONER = net("images: torch.Tensor, captions: 'Optional[torch.Tensor]' = None, hidden_state=None")
DETECTOR = net(
    "images: List[Tensor], targets: Optional[List[Dict[str, Tensor]]] = None",
    "    def build(self, prm):\n"
    "        prm['pretrained'], prm.get('topk_candidates'), prm.get('head', None)\n",
)


@pytest.fixture
def listed(make_settings, tmp_path):
    """List a copy of LEMUR by name."""

    def run(lemur: Lemur, **catalog):
        settings = make_settings(lemur.folder(tmp_path / "tree"), **catalog)
        return {model.name: model for model in LemurSource(settings).models()}

    return run


def on(lemur: Lemur, task: str, dataset: str, code: str = MODEL, **names: str) -> Lemur:
    name = names.get("name", "net")
    lemur.models[name] = code
    one = trial(f"of-{name}", transform=names.get("transform", "norm_64"))
    lemur.trials[f"{task}_{dataset}_metric_{name}", 1] = [one]
    return lemur


@pytest.mark.parametrize(
    ("task", "dataset", "expected"),
    [
        ("age-regression", "utkface", ((1, 3, 64, 64), 1)),
        ("age-regression", "imdb_wiki", ((1, 3, 64, 64), 1)),
        ("img-denoising", "denoise", ((1, 3, 64, 64), 3)),
        ("img-super-resolution", "div2k", ((1, 3, 128, 128), 3)),
        ("super-resolution", "div2k", ((1, 3, 128, 128), 3)),
        ("img-sr", "div2kv2", ((1, 3, 128, 128), 3)),
        ("img-classification", "imagenet", ((1, 3, 64, 64), 1000)),
        ("img-classification", "imagenet100", ((1, 3, 64, 64), 100)),
        ("obj-detection", "coco", ((1, 3, 64, 64), 6)),
    ],
)
def test_networks_that_take_one_image_have_its_shape(task, dataset, expected, lemur, listed):
    model = listed(on(lemur, task, dataset))["net"]
    assert (model.input_shape, model.classes) == expected
    assert (model.dataset, model.inputs, model.skipped) == (dataset, (), None)


def test_captioning_networks_take_an_image_and_words(lemur, listed):
    model = listed(on(lemur, "img-captioning", "coco", CAPTIONER))["net"]
    assert model.inputs == (ModelInput(shape=(1, 3, 64, 64)), ModelInput(shape=(1, 20), dtype="int64"))
    assert (model.input_shape, model.classes, model.skipped) == ((1, 3, 64, 64), 30_000, None)
    fewer = listed(lemur, vocabulary_words=500)["net"]
    assert fewer.classes == 500
    assert fewer.identity != model.identity


def test_text_networks_take_characters(lemur, listed):
    model = listed(on(lemur, "txt-generation", "wikitext", transform="echo"))["net"]
    assert model.inputs == (ModelInput(shape=(1, 128), dtype="int64"),)
    assert (model.input_shape, model.classes, model.skipped) == (None, 1_000, None)
    assert "vocabulary of poems" in listed(on(lemur, "txt-generation", "poems"))["net"].skipped


@pytest.mark.parametrize(
    ("task", "code", "reason"),
    [
        ("obj-detection", "roi_heads = 1\n", "it has two stages"),
        ("img-captioning", "X = str.from_pretrained('gpt2')\n", "loads a tokenizer or an encoder"),
        ("txt-image", "X = str.from_pretrained('clip')\n", "loads a tokenizer or an encoder"),
        ("txt-image", "", "which of its parts takes token ids cannot be told"),
        ("audio-tagging", "", "its input cannot be derived"),
    ],
)
def test_what_cannot_be_told_is_skipped_with_its_reason(task, code, reason, lemur, listed):
    model = listed(on(lemur, task, "coco", MODEL + code))["net"]
    assert model.skipped.startswith(f"task {task}: ")
    assert reason in model.skipped


def test_a_model_without_trials_is_no_classifier_if_its_code_says_otherwise(lemur, listed):
    lemur.trained("usual", trial("a")).untrained("SSDFull", DETECTOR).untrained("plain")
    on(lemur, "obj-detection", "coco", DETECTOR, name="SSDLite")
    models = listed(lemur)
    assert (models["SSDFull"].task, models["SSDFull"].dataset) == ("obj-detection", "coco")
    assert models["SSDFull"].hyperparameters["pretrained"] == 0.0
    assert models["SSDFull"].hyperparameters["topk_candidates"] == 0.5
    assert "head" not in models["SSDFull"].hyperparameters
    assert models["plain"].task == "img-classification"


def test_without_trials_of_its_task_such_a_model_is_skipped(lemur, listed):
    lemur.trained("usual", trial("a")).untrained("SSDFull", DETECTOR)
    assert "its code is one for obj-detection" in listed(lemur)["SSDFull"].skipped


def test_parameters_and_hyperparameters_are_read_from_the_text():
    assert forward_parameters(DETECTOR) == ("self", "images", "targets")
    assert forward_parameters(net("images, **kwargs"))[1:] == ("images", "kwargs")
    assert forward_parameters(net("x: dict[str, tuple[int, targets]]")) == ("self", "x")
    assert forward_parameters("nothing") == ()
    assert required_hyperparameters(DETECTOR) == ("pretrained", "topk_candidates")


def test_what_was_measured_in_training_is_no_hyperparameter(lemur, listed):
    lemur.trained("plain", trial("a")).trained(
        "rich", trial("b", train_stat={"gpu_type": "A"}, gpu_type="A", best_accuracy=0.5, fps=9.0, gflops=1.0)
    )
    models = listed(lemur)
    assert models["rich"].hyperparameters == models["plain"].hyperparameters
    assert models["rich"].identity == models["plain"].identity


@pytest.mark.parametrize("below", ["ab/nn/stat/", "ab/nn/stat/train/2026/", "ab/nn/stat/training/a/b/"])
@pytest.mark.parametrize("kind", ["folder", "wheel"])
def test_nested_and_renamed_folders_of_statistics_are_read(below, kind, lemur, make_settings, tmp_path):
    lemur.trained("net", trial("a"), on="mnist")
    files = {name.replace("ab/nn/stat/train/", below): text for name, text in lemur.files().items()}
    files["ab/nn/stat/nn/net.json"] = "{}"
    files["ab/nn/stat/run/tflite/fp32/img-classification_mnist_acc_net/1.json"] = "not a list of trials"
    lemur.files = lambda: files
    path = getattr(lemur, kind)(tmp_path / "copy")
    (model,) = LemurSource(make_settings(path)).models()
    assert (model.configuration_source, model.dataset) == ("trial:a", "mnist")


def test_new_trials_in_a_nested_folder_are_listed(lemur, make_settings, tmp_path):
    settings = make_settings(lemur.trained("net", trial("a")).folder(tmp_path / "tree"))
    LemurSource(settings).models()
    nested = tmp_path / "tree/ab/nn/stat/more/img-classification_cifar-10_acc_net"
    nested.mkdir(parents=True)
    (nested / "1.json").write_text('[{"uid": "b", "batch": 1, "duration": 1, "transform": "norm_64"}]')
    (model,) = LemurSource(settings).models()
    assert model.configuration_source == "trial:b"


@pytest.mark.parametrize("kind", ["folder", "wheel"])
def test_a_copy_without_transforms_is_an_error(kind, lemur, make_settings, tmp_path):
    lemur.transforms.clear()
    path = getattr(lemur.trained("net", trial("a")), kind)(tmp_path / "copy")
    with pytest.raises(CatalogError, match="holds no transforms"):
        LemurSource(make_settings(path)).models()


@pytest.mark.parametrize("place", ["nn-dataset", "../nn-dataset"])
def test_a_checkout_nearby_is_found(place, lemur, make_settings, tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    lemur.trained("net", trial("a")).folder(tmp_path / "work" / place)
    (model,) = LemurSource(make_settings(None)).models()
    assert model.name == "net"


def test_transforms_of_the_newest_lemur_have_shapes(lemur, listed):
    lemur.transforms["denoise"] = NEW_DENOISE
    model = listed(on(lemur, "img-denoising", "denoise", transform="denoise"))["net"]
    assert model.input_shape == (1, 3, 256, 256)


#: As nn-dataset 2.2.11 has it, so that the committed table knows it.
NEW_DENOISE = """import torchvision.transforms as T

def transform(norm: tuple = None) -> T.Compose:
    return T.Compose([
        T.ToTensor() # Simply convert the already-cropped PIL image to a Tensor
    ])
"""
