"""`make architectures` in a small size: one public architecture, one that cannot be built, and their page."""

import orjson

import architectures


def test_results_are_kept_and_written_to_a_page(tmp_path, place, monkeypatch, capsys):
    monkeypatch.setattr(architectures, "SIDE", 64)
    monkeypatch.setattr(architectures, "NETWORKS", ["torchvision squeezenet1_1", "timm no_such_network"])
    monkeypatch.setattr(architectures, "KEPT", tmp_path / "kept.jsonl")
    monkeypatch.setattr(architectures, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr("networks.preload", lambda: None)  # the tests' process has
    monkeypatch.setattr("sys.argv", ["architectures"])

    assert architectures.main() == 0

    first, second = map(orjson.loads, (tmp_path / "kept.jsonl").read_bytes().splitlines())
    assert first["network"] == "torchvision squeezenet1_1" and first["states"]["fp32"] == ["ok", ""]
    assert second["states"]["fp32"][0] == second["states"]["int8"][0] == "refused"
    assert "Unknown model (no_such_network)" in second["states"]["fp32"][1]
    page = (tmp_path / "page.md").read_text()
    assert f"revisions of nnlite (networks): {first['revision']} (2)." in page
    assert "| torchvision squeezenet1_1 | ok |" in page and "| refused | 1 | 1 |" in page
    assert "1/2 torchvision squeezenet1_1: ok" in capsys.readouterr().err

    assert architectures.main() == 0
    assert "/2" not in capsys.readouterr().err, "what has a result is not converted again"
