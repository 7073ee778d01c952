"""Static checks of a model's source."""

import pytest

from nnlite.catalog.untrusted.source_text import (
    USUAL_HYPERPARAMETERS,
    supported_hyperparameters,
    why_unusable,
)


@pytest.mark.parametrize(
    "code",
    [
        "class Net: pass",
        "try:\n    class Net: pass\nexcept ImportError:\n    pass",
        "from elsewhere import Net",
        "class Other: pass\nNet = Other",
        "x = '\\d'\nclass Net: pass",  # Python warns of the escape; a listing must not
    ],
)
def test_code_that_defines_a_net_is_usable(code):
    assert why_unusable(code) is None


@pytest.mark.parametrize(
    "code", ["class Network: pass", "def make():\n    class Net: pass", "print(Net)", ""]
)
def test_code_without_a_net_is_reported(code):
    assert why_unusable(code) == "no class Net"


@pytest.mark.parametrize("code", ["class Net(:", "x = 1\0", "(" * 5000])
def test_code_that_does_not_parse_is_reported(code):
    assert why_unusable(code).startswith("does not parse: ")


def test_code_is_not_executed(tmp_path):
    mark = tmp_path / "executed"
    code = (
        f"open({str(mark)!r}, 'w')\nclass Net: pass\ndef supported_hyperparameters():\n    return {{'lr'}}\n"
    )
    assert why_unusable(code) is None
    assert supported_hyperparameters(code) == ("lr",)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("def supported_hyperparameters():\n    return {'momentum', 'lr'}\n", ("lr", "momentum")),
        ("def supported_hyperparameters():\n    return ['lr', 'alpha']", ("alpha", "lr")),
        ("def supported_hyperparameters():\n    return set(('lr',))\nx = 1", ("lr",)),
        ("def supported_hyperparameters(): return {'lr'}\nclass Net: pass", ("lr",)),
        (
            "def supported_hyperparameters():\n    # why\n\n    return {\n        'lr',\n    }\n\n\nx = 1",
            ("lr",),
        ),
        ("def supported_hyperparameters():\n    return NAMES", USUAL_HYPERPARAMETERS),
        ("def supported_hyperparameters(:\n    return {'lr'}", USUAL_HYPERPARAMETERS),
        ("class Net: pass", USUAL_HYPERPARAMETERS),
    ],
)
def test_supported_hyperparameters_are_read_if_they_are_literals(code, names):
    assert supported_hyperparameters(code) == names
