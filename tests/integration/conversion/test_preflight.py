"""Pre-flight: every operator that cannot be converted is listed at once, with its line, by the command."""

import json
import subprocess
import sys
import tempfile

import pytest

from integration.conversion.models import CLASSIFIER, network
from nnlite.cli import main
from nnlite.errors import Failure, FailureClass
from nnlite.vocabulary import Stage
from nnlite_conversion import single_job
from nnlite_conversion.isolation.conversion import answer
from nnlite_conversion.isolation.process_registry import remove_orphaned_dirs
from nnlite_conversion.messages import Preflight
from waiting import HANG_S


def found(job, settings, place, code):
    report = answer(Preflight, job(code), settings, workdir=place)
    return [(each.operator, each.stage, each.line.partition(": ")[2], each.count) for each in report.problems]


def test_a_network_that_converts_has_no_problems(job, settings, place):
    report = answer(Preflight, job(CLASSIFIER), settings, workdir=place)

    assert report.problems == () and report.operators >= 4


def test_all_operators_are_listed_with_their_lines(job, settings, place):
    code = network(
        """
        y = torch.histc(x, 5, -1, 1).sum() + F.relu(x)
        y = y + torch.histc(x, 5, -1, 1).sum() + torch.histc(x, 4, -1, 1).sum()
        y = F.dropout(y, 0.5)
        return torch.lgamma(y) + torch.randn(8)
        """
    )

    assert sorted(found(job, settings, place, code)) == [
        ("aten.histc.default", Stage.LOWER, "y = torch.histc(x, 5, -1, 1).sum() + F.relu(x)", 1),
        (
            "aten.histc.default",
            Stage.LOWER,
            "y = y + torch.histc(x, 5, -1, 1).sum() + torch.histc(x, 4, -1, 1).sum()",
            2,
        ),
        ("aten.lgamma.default", Stage.LOWER, "return torch.lgamma(y) + torch.randn(8)", 1),
        ("aten.rand_like.default", Stage.LOWER, "y = F.dropout(y, 0.5)", 1),
        ("aten.randn.default", Stage.LOWER, "return torch.lgamma(y) + torch.randn(8)", 1),
    ]


def test_operators_that_are_rewritten_are_not_listed_and_others_keep_their_lines(job, settings, place):
    code = network("y = torch.add(x, F.relu(x), alpha=0.5)\nreturn y, torch.lgamma(y)")

    assert found(job, settings, place, code) == [
        ("aten.lgamma.default", Stage.LOWER, "return y, torch.lgamma(y)", 1)
    ]


def test_operators_in_bfloat16_whose_results_differ_are_listed_once_a_line(job, settings, place):
    code = network("y = (x.bfloat16() * 2 + 1).sigmoid()\nreturn y.float() * 2")

    assert found(job, settings, place, code) == [
        ("aten.mul.Tensor", Stage.LOWER, "y = (x.bfloat16() * 2 + 1).sigmoid()", 1)
    ]


def test_operators_on_too_many_dimensions_are_listed_and_refused(job, settings, place):
    code = network("x = x.view(1, 1, 1, 3, 8, 2, 4)\nreturn x.scatter(6, torch.zeros_like(x).long(), 2.0)")

    assert found(job, settings, place, code) == [
        ("aten.scatter.value", Stage.LOWER, "return x.scatter(6, torch.zeros_like(x).long(), 2.0)", 1)
    ]


def test_integers_of_more_than_32_bits_are_listed_next_to_operators(job, settings, place):
    code = network("y = (x * 9).long() * 2654435761 % 1000\nreturn y, torch.lgamma(x)")
    problems = answer(Preflight, job(code), settings, workdir=place).problems

    assert [each.operator for each in problems] == ["aten.lgamma.default", "aten.mul.Tensor"]
    assert problems[1].line.endswith("y = (x * 9).long() * 2654435761 % 1000")
    assert problems[1].cause.startswith("needs 64-bit integers") and "2**31" in problems[1].remedy


@pytest.mark.parametrize(
    ("forward", "operator"),
    [
        pytest.param("return (x > 0).nonzero() * 2", "aten.nonzero.default", id="by a function"),
        pytest.param("return F.relu(x[x > 0]).view(1, -1)", "aten.index.Tensor", id="by a mask"),
        pytest.param("y = x.flatten()\nreturn y[y > 0].sum()", "aten.index.Tensor", id="reduced"),
    ],
)
def test_what_follows_from_a_size_that_depends_on_values_is_not_listed(
    job, settings, place, forward, operator
):
    (problem,) = answer(Preflight, job(network(forward)), settings, workdir=place).problems

    assert problem.operator == operator
    assert problem.cause.startswith(f"the size of operator {operator}'s result depends on the input's values")
    assert "mask" in problem.remedy


def test_operators_are_named_as_the_code_calls_them(job, settings, place):
    code = network(
        """
        y = self.layer(x, torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]]))
        kept = ops.nms(x[0, 0, :, :4], x[0, 0, :, 4], 0.5)
        n = x.sum().long()
        return torch.cond(y.mean() > 0, lambda t: t * 2, F.relu, (y,)), kept, torch.flip(x[:, :n], [1])
        """,
        "self.layer = ops.RoIPool(2, 1.0)",
        "from torchvision import ops",
    )
    problems = answer(Preflight, job(code), settings, workdir=place).problems

    called = {each.operator: (each.called, str(each.line).partition(": ")[2]) for each in problems}
    assert called["torchvision.roi_pool.default"][0] == "RoIPool"
    assert called["torchvision.roi_pool.default"][1].startswith("y = self.layer(x, torch.tensor(")
    assert called["torchvision.nms.default"][0] == "ops.nms"
    assert called["cond"][0] == "torch.cond"
    assert called["aten._local_scalar_dense.default"][1].startswith("return torch.cond(")
    assert not [each for each in problems if "/tmp" in f"{each.cause}{each.line}"]


def test_what_takes_a_number_that_depends_on_values_is_not_listed(job, settings, place):
    code = network("return torch.lgamma(x) + sum(x[0, 0, 0].tolist())")

    operators = {operator for operator, *_ in found(job, settings, place, code)}

    assert operators == {"aten.lgamma.default", "aten._local_scalar_dense.default"}


def test_what_cannot_be_exported_does_not_hide_others(job, settings, place):
    code = network(
        """
        y = torch.lgamma(x)
        if y.mean() > 0:
            y = y + 1
        for _ in range(int(x.abs().sum().item()) % 3 + 1):
            y = y + 1
        k = torch.combinations(y.flatten()[:4])
        if torch.equal(x, y):
            return y
        return (x * 9).long() * 2654435761 % 1000, y[y > 0], torch.randn(8), torch.linalg.eigh(y[0, 0])
        """
    )
    problems = answer(Preflight, job(code), settings, workdir=place).problems

    assert [(each.called, each.operator, each.line.partition(":")[2][:2]) for each in problems] == [
        (None, "aten._local_scalar_dense.default", "12"),
        ("torch.combinations", "aten.combinations.default", "14"),
        ("torch.equal", "aten.equal.default", "15"),
        (None, "aten.index.Tensor", "17"),
        ("torch.lgamma", "aten.lgamma.default", "9:"),
        ("torch.linalg.eigh", "aten._linalg_eigh.default", "17"),
        ("torch.randn", "aten.randn.default", "17"),
        (None, "aten.mul.Tensor", "17"),
    ]
    assert all(each.remedy for each in problems)


def test_what_nothing_stands_in_for_is_listed_with_what_was_passed(job, settings, place):
    code = network(
        """
        k = x.nonzero()
        if not torch.compiler.is_exporting(): return x
        return torch.sparse.mm(x[0, 0].to_sparse(), x[0, 0])
        """
    )
    problems = answer(Preflight, job(code), settings, workdir=place).problems

    assert problems and problems[-1].line.endswith("return torch.sparse.mm(x[0, 0].to_sparse(), x[0, 0])")


def test_operators_with_effects_do_not_hide_others(job, settings, place):
    code = network(
        "y = x @ x.transpose(2, 3)\nz = torch.linalg.inv(y)\nreturn z, torch.lgamma(y), torch.nonzero(y > 0)"
    )

    assert {problem[0] for problem in found(job, settings, place, code)} == {
        "aten.linalg_inv_ex.default",
        "aten.lgamma.default",
        "aten.nonzero.default",
    }


def test_a_network_that_cannot_be_loaded_is_a_failure_of_the_model(job, settings, place):
    with pytest.raises(Failure) as failure:
        answer(Preflight, job(network("return x.view(7)")), settings, workdir=place)

    assert (failure.value.failure_class, failure.value.stage) == (FailureClass.MODEL, Stage.LOAD)


COMMAND = "preflight net.py --source files --path net.py --input 1x8 --json"


@pytest.fixture
def net(tmp_path, monkeypatch):
    """Return a function that writes the file of a network with this forward, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NNLITE_HOME", str(tmp_path / "home"))

    def write(forward: str) -> None:
        text = f"import torch\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        {forward}\n"
        (tmp_path / "net.py").write_text(text)

    return write


def assert_reported(printed: str, operators: list[str | None], forward: str) -> None:
    (report,) = json.loads(printed)
    assert report["model"] == "net.py"
    assert [problem["operator"] for problem in report["problems"]] == operators
    assert all(problem["line"] == f"net.py:4: {forward}" for problem in report["problems"])


def test_the_command_prints_what_it_found_and_exits_with_1(net):
    net(forward := "return torch.lgamma(x)")

    ended = subprocess.run(
        [sys.executable, "-m", "nnlite.cli", *COMMAND.split()],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )

    assert ended.returncode == 1, ended.stderr
    assert_reported(ended.stdout, ["aten.lgamma.default"], forward)


@pytest.mark.parametrize(("forward", "operators"), [("return x * 2", []), ("return x.view(7)", [None])])
@pytest.mark.usefixtures("jobs_in_forks")
def test_the_command_exits_with_1_if_it_found_something(net, monkeypatch, capfd, forward, operators):
    net(forward)
    monkeypatch.setattr(sys, "argv", ["nnlite", *COMMAND.split()])

    with pytest.raises(SystemExit) as ended:
        main()

    assert (ended.value.code or 0) == (1 if operators else 0)
    assert_reported(capfd.readouterr().out, operators, forward)


@pytest.mark.usefixtures("jobs_in_forks")
def test_a_worker_that_starts_meanwhile_leaves_the_folder_of_a_command(net, monkeypatch, tmp_path, capfd):
    net("return x * 2")
    monkeypatch.setattr(sys, "argv", ["nnlite", *COMMAND.split()])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def meanwhile(job, settings, workdir):
        removed = remove_orphaned_dirs(tmp_path)
        assert (removed, workdir.parent, workdir.is_dir()) == ([], tmp_path, True)
        return answer(Preflight, job, settings, workdir=workdir)

    monkeypatch.setattr(single_job, "_preflight", meanwhile)
    with pytest.raises(SystemExit) as ended:
        main()

    assert not ended.value.code, capfd.readouterr().err
    assert list(tmp_path.glob("nnlite-job-*")) == []
