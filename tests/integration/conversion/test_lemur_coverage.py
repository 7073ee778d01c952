"""`make lemur-coverage` in a small size: one model is converted, one is skipped, and their page."""

import orjson
import pytest

import lemur_coverage


def test_results_are_kept_and_written_to_a_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lemur_coverage, "KEPT", tmp_path / "kept.jsonl")
    monkeypatch.setattr(lemur_coverage, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(lemur_coverage, "MODELS", 1)
    monkeypatch.setattr(lemur_coverage, "SEED", 1)
    monkeypatch.setattr(lemur_coverage, "_GENERATED", lemur_coverage.re.compile("(?!ComplexNet$)"))
    monkeypatch.setattr("networks.preload", lambda: None)  # the tests' process has
    monkeypatch.setattr("sys.argv", ["lemur_coverage"])

    assert lemur_coverage.main() == 0

    (kept,) = map(orjson.loads, (tmp_path / "kept.jsonl").read_bytes().splitlines())
    assert kept["states"]["fp32"] == ["ok", ""]
    page = (tmp_path / "page.md").read_text()
    assert f"revisions of nnlite (models): {kept['revision']} (1):" in page
    assert "| drawn uniformly | 1 of 1 | 1 of 1 (100.0%) | 1 of 1 (100.0%) |" in page
    assert "| named by people | 1 of 1 | 0 of 1 (0.0%) | 0 of 0 (0.0%) | 0 of 0 (0.0%) |" in page
    assert "| takes complex numbers | the format's | both | 1 | ComplexNet: " in page
    assert f"1/1 {kept['network']}: ok" in capsys.readouterr().err

    monkeypatch.setattr("sys.argv", ["lemur_coverage", "--write"])
    assert lemur_coverage.main() == 0
    assert "/1" not in capsys.readouterr().err, "what has a result is not converted again"
    assert (tmp_path / "page.md").read_text() == page


@pytest.mark.parametrize(
    ("reason", "whose"),
    [
        ("output 0: signal to quantization noise is 8.6 dB, limit 10 dB", "the quantizer's"),
        ("operator aten.lgamma.default cannot be lowered to LiteRT", "the converter's"),
        ("something else", "ours, until it is known"),
    ],
)
def test_a_reason_is_an_instance_of_a_cause(reason, whose):
    assert lemur_coverage.cause_of(reason).whose == whose


def test_models_that_people_named_come_before_their_variants():
    names = ["ga-1", "BagNet-001bf3e2-17c2-4fdf-948e-493677e58a3b", "UNet-1", "FractalNet", "FractalNet-1cf"]
    models = [type("Model", (), {"name": name}) for name in (*names, "a16b25d485622212877ca354ebc2a363")]

    assert [model.name for model in lemur_coverage.named(models)] == ["FractalNet", "UNet-1", names[1]]
