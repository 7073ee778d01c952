"""How results read: units, what is shown only where it tells rows apart, reasons with verdicts."""

import re

import pytest
from rich.console import Console

from nnlite.cli.presenting import output, presentation
from nnlite.cli.results import print_checks, print_results
from nnlite.results.queries import Progress

MEASUREMENT = {
    "campaign": "night",
    "source": "lemur",
    "model": "BagNet",
    "accuracy": 0.5,
    "efficiency": 0.405000,
    "param_gate_ok": True,
    "precision": "fp32",
    "parameters": 1_234_567,
    "size_bytes": 4_940_000,
    "parity_relative": 1.2e-7,
    "parity_state": "ok",
    "parity_reason": None,
    "sqnr_db": 126.2,
    "top1_agreement": 1.0,
    "parity_samples": 128,
    "top1": None,
    "top5": None,
    "torch_top1": None,
    "no_worse": None,
    "evaluation_reason": None,
    "device_top1": None,
    "device_evaluation_reason": None,
    "device": "host-lab",
    "backend": "cpu",
    "threads": 1,
    "mode": "standard",
    "median_ns": 1_234_567,
    "interval_pairs": 20,
    "interval_low_ns": 1_230_000,
    "interval_high_ns": 1_240_000,
    "suspect": False,
    "min_ns": 1_200_000,
    "p90_ns": 123_456_789,
    "energy_method": None,
    "energy_error": None,
    "energy_uj": None,
    "energy_low_uj": None,
    "energy_high_uj": None,
    "verdict": "valid",
    "noise_cause": None,
    "reasons": [],
    "shape": "steady",
    "delegated_nodes": 26,
    "total_nodes": 26,
    "error": None,
    "runtime_version": None,
    "runtime_check": None,
    "conditions": None,
}
COUNTS = dict.fromkeys(Progress.__dataclass_fields__, 0)


def row(**changes):
    return presentation.result_row(MEASUREMENT | changes)


def progress(**changes) -> Progress:
    return Progress(**(COUNTS | {"name": "night", "state": "active", "ended": False} | changes))


def test_a_measurement_is_one_line_in_peoples_units():
    expected = {
        "campaign": "night",
        "model": "BagNet",
        "precision": "fp32",
        "parameters": "1,234,567",
        "size": "4.9 MB",
        "parity": "1e-07 ok",
        "device": "host-lab",
        "backend": "cpu",
        "threads": 1,
        "mode": "standard",
        "median ms": "1.235 ± 0.4%",
        "min ms": "1.200",
        "p90 ms": "123.5",
        "verdict": "valid",
        "reasons": "",
    }
    empty = (
        "SQNR dB", "top-1", "mJ", "accuracy", "efficiency", "acc@1", "acc@5", "torch acc@1", "no worse",
        "device acc@1", "runtime",
    )  # fmt: skip
    expected |= dict.fromkeys(empty)
    shown = row()
    assert {name: shown[name] for name in expected} == expected


def test_a_measurement_without_latency_has_empty_cells_and_shows_its_error():
    refused = row(
        median_ns=None, interval_low_ns=None, interval_high_ns=None, min_ns=None, p90_ns=None,
        parameters=None, verdict="invalid", reasons=["runtime"], error="unknown operator\nmore",
    )  # fmt: skip
    assert [refused[name] for name in ("median ms", "min ms", "p90 ms", "parameters")] == [None] * 4
    assert (refused["verdict"], refused["reasons"]) == ("invalid", "runtime, unknown operator")


def test_a_median_without_an_interval_stands_alone():
    assert row(interval_low_ns=None, interval_high_ns=None)["median ms"] == "1.235"
    assert row(interval_pairs=0)["median ms"] == "1.235 ± ~0%"


def test_a_narrow_terminal_shows_models_verdicts_and_intervals(monkeypatch, capsys):
    monkeypatch.setattr(output, "out", Console(width=80))
    print_results([MEASUREMENT | {"model": "VisionTransformer", "reasons": ["spread", "drift"]}])
    header, cells = capsys.readouterr().out.splitlines()
    assert [word for word in ("model", "median ms", "min ms", "verdict") if word not in header] == []
    assert "VisionTransformer" in cells and "1.235 ± 0.4%" in cells and "spread, drift" in cells


def test_a_pass_for_energy_that_has_none_is_told_with_the_number_of_its_rows(capsys):
    print_results([MEASUREMENT, *[MEASUREMENT | {"energy_error": "the phone was plugged in"}] * 2])
    assert "2 without energy: the phone was plugged in" in capsys.readouterr().err
    print_results([MEASUREMENT])
    assert "without energy" not in capsys.readouterr().err


def test_energy_is_shown_where_it_is_known():
    known = row(energy_uj=12_345.0, energy_low_uj=12_000.0, energy_high_uj=12_690.0)
    assert known["mJ"] == "12.3 ± 2.8%"
    assert row(energy_uj=12_345.0)["mJ"] == "12.3"
    assert row(energy_uj=12_345.0, energy_method="rapl")["mJ"] == "12.3"
    assert row(energy_uj=12_345.0, energy_method="battery")["mJ"] == "12.3 battery"
    assert "mJ" in presentation.result_columns([row(), known])
    assert "mJ" not in presentation.result_columns([row()])


def test_failed_parity_is_shown():
    assert row(parity_state="off", parity_relative=0.31)["parity"] == "3e-01 off"
    assert row(parity_state="off", parity_relative=None)["parity"] == "off"


def test_a_run_that_is_not_steady_says_so():
    assert row()["reasons"] == row(shape=None)["reasons"] == ""
    assert row(shape="slowing", reasons=["drift"])["reasons"] == "drift, slowing"


def test_partial_delegation_shows_its_counts():
    partial = row(reasons=["few_runs", "partial_delegation"], delegated_nodes=20)
    assert partial["reasons"] == "few_runs, partial_delegation 20/26"


def test_columns_that_are_equal_everywhere_are_not_shown():
    assert "device" not in presentation.result_columns([row(), row(model="DarkNet")])
    columns = presentation.result_columns([row(), row(device="pixel"), row(backend="gpu", campaign="day")])
    assert columns[:4] == ["model", "campaign", "device", "backend"]
    assert presentation.result_columns([row(), row(threads=4)])[:2] == ["model", "threads"]


def test_a_mode_that_is_not_the_usual_one_is_shown_though_it_is_equal_everywhere():
    assert "mode" not in presentation.result_columns([row(), row()])
    assert presentation.result_columns([row(mode="full"), row(mode="full")])[:2] == ["model", "mode"]


def test_rows_of_different_modes_are_said_not_to_compare(capsys):
    print_results([MEASUREMENT, MEASUREMENT | {"mode": "quick"}])
    said = capsys.readouterr()
    assert " mode " in said.out and "modes quick, standard: compare rows of one mode" in said.err
    print_results([MEASUREMENT] * 2)
    said = capsys.readouterr()
    assert " mode " not in said.out and not said.err


def test_reasons_have_a_column_where_there_are_any():
    assert "reasons" not in presentation.result_columns([row()])
    assert presentation.result_columns([row(), row(reasons=["spread"])])[-1] == "reasons"


def test_runtime_checks_have_a_column_where_there_are_any():
    assert "runtime" not in presentation.result_columns([row()])
    checked = row(runtime_version="2.16.2", runtime_check="refused")
    assert checked["runtime"] == "2.16.2 refused"
    assert presentation.result_columns([row(), checked])[-1] == "runtime"


def test_a_check_is_listed_unless_accepted_or_pending(capsys):
    row = {
        "precision": "int8",
        "runtime_version": "2.16.2",
        "operator": "CONV_2D",
        "reason": "old\nand more",
    }
    states = (("accepted", None), ("accepted", None), ("different", None), ("queued", None), ("refused", 99))
    print_checks(
        [
            row | {"model": f"Model{number}", "runtime_check": state, "operator_version": version}
            for number, (state, version) in enumerate(states)
        ]
    )
    output = capsys.readouterr()
    assert "TensorFlow Lite 2.16.2: 2 accepted, 1 different, 1 queued, 1 refused" in output.err
    shown = [re.split("  +", line.strip()) for line in output.out.splitlines()]
    assert shown[3:] == [
        ["Model2", "int8", "different", "CONV_2D", "old"],
        ["Model4", "int8", "refused", "CONV_2D v99", "old"],
    ]


def test_nothing_measured_has_columns_still():
    assert presentation.result_columns([])[0] == "model"


@pytest.mark.parametrize(
    ("duration_ns", "shown"),
    [(None, None), (0, "0.000"), (511, "0.000511"), (9_999_000, "9.999"), (10_000_000, "10.0")],
)
def test_durations_are_milliseconds(duration_ns, shown):
    assert presentation.milliseconds(duration_ns) == shown


@pytest.mark.parametrize(("size_bytes", "shown"), [(0, "0 kB"), (8692, "9 kB"), (1_000_000, "1.0 MB")])
def test_sizes_are_kilobytes_or_megabytes(size_bytes, shown):
    assert presentation.size(size_bytes) == shown


def test_a_reason_is_cut_to_a_line():
    assert presentation.shorten("\n first line \nTraceback") == "first line "
    assert len(presentation.shorten("x" * 1000)) == 160
    assert presentation.shorten("x" * 160) == "x" * 160


def test_a_failure_without_reason_has_an_empty_one_and_others_a_whole_one_where_that_is_asked_for():
    assert presentation.failure_row({"model": "BagNet", "reason": None})["reason"] == ""
    assert presentation.failure_row({"reason": f"{'x' * 300}\n"}, whole=True)["reason"] == "x" * 300


def test_failures_of_several_campaigns_say_which():
    night, day = {"campaign": "night"}, {"campaign": "day"}
    assert "campaign" not in presentation.failure_columns([night, night])
    assert presentation.failure_columns([night, day])[:2] == ["model", "campaign"]


def test_a_refused_precision_is_named_and_a_failed_model_has_none():
    refused, failed = {"campaign": "night", "precision": "int8"}, {"campaign": "night", "precision": None}
    assert presentation.failure_columns([refused, failed])[:2] == ["model", "precision"]
    assert "precision" not in presentation.failure_columns([failed])


def test_quantized_artifacts_show_sqnr_and_top1_with_their_parity():
    rows = [row(), row(precision="int8", sqnr_db=33.4, top1_agreement=127 / 128)]
    assert (rows[1]["SQNR dB"], rows[1]["top-1"]) == ("33", "99.2%")
    columns = presentation.result_columns(rows)
    assert columns[columns.index("parity") + 1 :][:2] == ["SQNR dB", "top-1"]
    assert not {"SQNR dB", "top-1"} & set(presentation.result_columns(rows[:1]))


def test_accuracy_has_columns_where_it_was_measured():
    measured = row(top1=0.905, top5=None, torch_top1=0.91, no_worse=0.985)
    columns = presentation.result_columns([measured, row(evaluation_reason="load: no class Net")])
    assert [name for name in columns if name in measured and ("acc@" in name or name == "no worse")] == [
        "acc@1", "torch acc@1", "no worse",
    ]  # fmt: skip
    assert (measured["acc@1"], measured["torch acc@1"], measured["no worse"]) == ("90.5%", "91.0%", "98.5%")
    assert row(evaluation_reason="load: no class Net")["reasons"] == "no accuracy: load: no class Net"
    assert "acc@1" not in presentation.result_columns([row()])


def test_a_campaigns_counts_add_up():
    shown = presentation.campaign_row(
        progress(
            models=10, converted=6, measured=4, models_measuring=2, conversions_queued=1, converting=1,
            conversions_failed=1, conversions_quarantined=1, benchmarks_failed=1, skipped=0,
        )
    )  # fmt: skip
    assert (shown["models"], shown["waiting"], shown["failed"]) == (10, 4, 3)


def test_a_spreadsheet_gets_lists_as_words():
    cells = presentation.csv_row({"reasons": ["few_runs", "spread"], "input_shape": [1, 3], "n": None})
    assert cells == {"reasons": "few_runs spread", "input_shape": "1 3", "n": None}


def test_the_cause_of_noise_follows_the_reasons():
    noisy = row(verdict="noisy", reasons=["spread", "drift"], noise_cause="steal 14 %")
    assert noisy["reasons"] == "spread, drift: steal 14 %"


def test_what_spoils_a_phones_number_is_named_but_not_that_it_hangs_on_a_cable():
    assert row(conditions=["power_saver", "charging"], reasons=["few_runs"])["reasons"] == (
        "few_runs, power_saver"
    )


def test_a_result_of_a_suspect_device_says_so():
    assert row(suspect=True, reasons=["few_runs"])["reasons"] == "few_runs, suspect device"
