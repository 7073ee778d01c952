"""An error is traced to the line of the model's code and to the operator, as that line calls it."""

import pytest
import torch

from nnlite.errors import FailureClass
from nnlite.vocabulary import Stage
from nnlite_conversion import explanations
from nnlite_conversion.culprit import (
    CodeLine,
    Culprit,
    UnsupportedNode,
    code_line,
    culprit_in_graph,
    culprit_of,
)
from nnlite_conversion.remedies import unsupported

PACKAGES = "/w/.venv/lib/python3.11/site-packages"
DEFORMABLE = "torchvision.ops.deform_conv.DeformConv2d"
SEQUENTIAL = "torch.nn.modules.container.Sequential"


def node(operator, line, layer=None):
    """Return a node of an exported graph that a line of a model's code calls."""
    graph = torch.fx.Graph()
    created = graph.call_function(operator, (graph.placeholder("x"),))
    created.meta["stack_trace"] = (
        f'File "{PACKAGES}/torch/nn/modules/module.py", line 9, in __call__\n'
        "    return forward(x)\n"
        f'File "/home/nobody/nets/net.py", line 12, in forward\n    {line}\n'
        f'File "{PACKAGES}/torchvision/ops/boxes.py", line 41, in nms\n    return op(x)'
    )
    if layer is not None:
        created.meta["nn_module_stack"] = {"": ("", "net.Net"), "d": ("network.d", layer)}
    return created


@pytest.mark.parametrize(
    ("operator", "line", "layer", "called"),
    [
        (torch.ops.aten.nonzero.default, "i = (y > 0).nonzero()", None, "nonzero"),
        (torch.ops.aten.nonzero.default, "i = torch.nonzero(y > 0)", None, "torch.nonzero"),
        (torch.ops.aten.linalg_inv_ex.default, "torch.mean(torch.linalg.inv(g))", None, "torch.linalg.inv"),
        (torch.ops.aten.sin.default, "return y * 2", None, None),
        (torch.ops.torchvision.deform_conv2d.default, "self.d(x)", DEFORMABLE, "DeformConv2d"),
        (torch.ops.aten.sin.default, "self.d(x)", SEQUENTIAL, None),
        (torch.ops.higher_order.cond, "torch.cond(x > 0, f, g)", None, "torch.cond"),
    ],
)  # fmt: skip
def test_a_node_is_named_as_the_code_calls_it(operator, line, layer, called):
    import torchvision  # noqa: F401  (registers its operators)

    culprit = culprit_in_graph(node(operator, line, layer))

    assert culprit == Culprit(
        operator=str(operator), called=called, line=CodeLine(file="net.py", number=12, source=line)
    )


def test_an_operator_that_the_converter_has_wrapped_is_named():
    def wrapped(operator):
        return lambda x: operator(x)

    culprit = culprit_in_graph(node(wrapped(torch.ops.aten.convolution.default), "return F.conv2d(x, y)"))

    assert culprit.operator == "aten.convolution.default"


def test_the_node_that_an_interpreter_executes_is_found_in_the_error():
    class Failing(torch.fx.Interpreter):
        def call_function(self, target, args, kwargs):
            raise AssertionError("Number of input tokens (1) does not match output tokens (0)")

    bad = node(torch.ops.aten.linalg_inv_ex.default, "return torch.linalg.inv(g)")
    bad.graph.output(bad)
    with pytest.raises(AssertionError) as failure:
        Failing(torch.fx.GraphModule({}, bad.graph)).run(torch.zeros(2, 2))

    assert culprit_of(failure.value).operator == "aten.linalg_inv_ex.default"
    explained = explanations.explained(Stage.LOWER, failure.value, explanations.of_lowering(failure.value))
    assert explained.reason == (
        "operator aten.linalg_inv_ex.default cannot be lowered to LiteRT, called as torch.linalg.inv, "
        "at net.py:12: return torch.linalg.inv(g); end the network before it and compute it from the "
        "network's outputs; what depends on no input belongs into a buffer that the constructor fills"
    )
    assert explained.failure_class is FailureClass.MODEL
    assert explained.details["cause"] == "operator aten.linalg_inv_ex.default cannot be lowered to LiteRT"
    assert explained.details["line"] == "net.py:12: return torch.linalg.inv(g)"
    assert explained.details["operator"] == "aten.linalg_inv_ex.default"


def test_an_operator_with_effects_is_named():
    graph = torch.fx.Graph()
    token = graph.placeholder("token")
    effect = graph.call_function(
        torch.ops.higher_order.with_effects, (token, torch.ops.aten._linalg_check_errors.default, token)
    )

    assert culprit_of(UnsupportedNode(effect)).operator == "aten._linalg_check_errors.default"


def test_the_innermost_line_of_the_network_is_where_an_error_was_raised(tmp_path):
    file = tmp_path / "net.py"
    file.write_text("import torch\n\n\ndef forward(x):\n    return torch.zeros(2)   @ x\n")
    namespace = {}
    exec(compile(file.read_text(), str(file), "exec"), namespace)
    with pytest.raises(RuntimeError) as failure:
        namespace["forward"](torch.zeros(3))
    outer = ValueError("outer")
    outer.__cause__ = failure.value

    assert str(culprit_of(outer).line) == "net.py:5: return torch.zeros(2) @ x"


def test_the_line_of_a_node_is_the_innermost_one_of_the_models_own_code():
    trace = (
        '  File "/tmp/x/model.py", line 7, in forward\n    return self.body(x)\n'
        '  File "/tmp/x/model.py", line 12, in body\n    y = self.conv(x)\n'
        '  File "/x/site-packages/torch/nn/conv.py", line 9, in forward\n    return 1\n'
    )

    assert str(code_line(trace)) == "model.py:12: y = self.conv(x)"
    assert code_line("") is None


def test_an_installed_network_has_lines_too():
    created = node(torch.ops.aten.nonzero.default, "")
    created.meta["stack_trace"] = (
        f'File "{PACKAGES}/torchvision/models/fcos.py", line 7, in f\n    y = x.nonzero()'
    )

    assert str(culprit_in_graph(created).line) == "torchvision/models/fcos.py:7: y = x.nonzero()"


@pytest.mark.parametrize(
    ("operator", "line", "cause", "remedy"),
    [
        ("aten.rand_like.default", "y = F.dropout(y, 0.5)", "pass is random", "pass training=self.training"),
        ("aten.normal.float_float", "y + torch.randn(3)", "pass is random", "take them as an input"),
        ("aten.bernoulli.p", "torch.bernoulli(y)", "pass is random", "only if self.training"),
        ("aten._local_scalar_dense.default", "x[:n]", "depends on the input's values", "torch.where"),
        ("aten.nonzero.default", "y.nonzero()", "result depends on the input's values", "a mask"),
        ("cond", "torch.cond(p, f, g)", "torch.cond is control flow", "torch.where"),
        ("aten.sort.default", "torch.sort(y)", "cannot be lowered", "LiteRT has no sorting"),
        ("aten._fft_r2c.default", "torch.fft.rfft(y)", "cannot be lowered", "real arithmetic"),
        ("torchvision.nms.default", "nms(y, s, 0.5)", "cannot be lowered", "end the network before it"),
        ("aten.new_operator.default", "f(y)", "cannot be lowered", "write it with other operators"),
    ],
)  # fmt: skip
def test_each_kind_of_operator_has_a_cause_without_places_and_a_remedy(operator, line, cause, remedy):
    culprit = Culprit(operator=operator, line=CodeLine(file="net.py", number=3, source=line))

    explained = unsupported(culprit)

    assert cause in explained.cause and remedy in explained.remedy
    assert "net.py" not in explained.cause
