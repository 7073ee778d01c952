"""Complete conversions of tiny models, each in a real forked child."""

import errno
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter

from integration.conversion.models import CLASSIFIER, network
from nnlite.artifacts.inputs import from_raw_bytes, seeded_input
from nnlite.errors import Failure, FailureClass
from nnlite.vocabulary import Precision, Stage
from nnlite_conversion.isolation import sandbox
from nnlite_conversion.isolation.conversion import convert
from nnlite_conversion.pipeline.lowering.rewrites import OPERATORS


def run(job, settings, place, tick=lambda stage: True):
    """Return a context with the outcome."""
    return convert(job, settings, workdir=place, tick=tick)


def failure_of(job, settings, place) -> Failure:
    with pytest.raises(Failure) as failure, run(job, settings, place):
        pass
    return failure.value


def test_model_is_converted_to_an_artifact_with_all_attributes(job, settings, place):
    with run(job(CLASSIFIER), settings, place) as outcome:
        (artifact,) = outcome.artifacts
        raw = artifact.path.read_bytes()

        assert artifact.sha256 == hashlib.sha256(raw).hexdigest()
        assert artifact.size_bytes == len(raw)
        assert (artifact.path.stat().st_uid, artifact.path.stat().st_nlink) == (os.getuid(), 1)
        assert artifact.precision is Precision.FP32
        assert [(t.name, t.shape, t.dtype) for t in artifact.inputs] == [("args_0", (1, 8, 8, 3), "float32")]
        assert [(t.name, t.shape, t.dtype) for t in artifact.outputs] == [("output_0", (1, 4), "float32")]
        assert (
            artifact.parity.state == "ok" and artifact.parity.relative < 1e-5 and artifact.parity.top1_agrees
        )
        assert artifact.operators["CONV_2D"] == 1
        assert artifact.rewrites == ()
    assert outcome.parameters == 3 * 8 * 9 + 8 + 8 * 4 + 4
    assert outcome.input_shape == (1, 3, 8, 8)
    assert list(outcome.timings_ns) == [Stage.LOAD, Stage.EXPORT, Stage.LOWER, Stage.PARITY]
    assert all(timing > 0 for timing in outcome.timings_ns.values())
    assert outcome.peak_rss_kb > 50_000
    assert len(outcome.state_dict_sha256) == 64
    assert not artifact.path.exists(), "the context removes its files"


def test_what_is_compiled_by_torch_runs_as_it_is(job, settings, place):
    code = network(
        "return torch.cond(x.mean() > 0, torch.relu, torch.sigmoid, (doubled(self.layer(x)),))",
        "self.layer = torch.compile(torch.nn.Conv2d(3, 4, 3)); self.compile()",
        "@torch.compile\ndef doubled(x): return x * 2",
    )

    assert failure_of(job(code), settings, place).details["operator"] == "cond"
    with run(job(code.replace("torch.cond", "(lambda _, f, g, x: f(*x))")), settings, place) as outcome:
        assert outcome.artifacts[0].parity.state == "ok"


def test_reference_output_is_the_host_output_for_the_seeded_input(job, settings, place):
    with run(job(CLASSIFIER), settings, place) as outcome:
        (artifact,) = outcome.artifacts
        interpreter = Interpreter(model_path=str(artifact.path), num_threads=1)
        runner = interpreter.get_signature_runner()
        again = runner(args_0=seeded_input((1, 8, 8, 3), "float32", 0))["output_0"]
        kept = from_raw_bytes(artifact.reference_outputs[0].read_bytes(), (1, 4), "float32")

    np.testing.assert_allclose(kept, again, rtol=1e-6)


def test_repeated_conversions_give_identical_bytes(job, settings, place):
    # Libraries that other tests import may have started some.
    threads = Path("/proc/self/task")
    before = len(list(threads.iterdir()))
    hashes = set()
    for _ in range(2):
        with run(job(CLASSIFIER), settings, place) as outcome:
            hashes.add(outcome.artifacts[0].sha256)

    assert len(hashes) == 1
    assert len(list(threads.iterdir())) <= before, "the parent of forks starts no thread"


def test_every_tensor_of_a_nested_output_is_an_output(job, settings, place):
    code = network("return {'out': x.mean((2, 3)), 'aux': [x.amax((2, 3)), (x * 2, None)]}")

    with run(job(code), settings, place) as outcome:
        (artifact,) = outcome.artifacts
        assert [output.shape for output in artifact.outputs] == [(1, 3), (1, 3), (1, 3, 8, 8)]
        assert [path.stat().st_size for path in artifact.reference_outputs] == [12, 12, 768]
        assert artifact.parity.state == "ok"


@pytest.mark.parametrize(
    ("model", "rewrite"),
    [
        (("return F.adaptive_max_pool2d(x, (3, 5)), F.adaptive_max_pool2d(x, 2)",), "adaptive_max_pool2d"),
        (
            (
                "y = x.permute(0, 2, 3, 1); y = y + self.b(self.a(y))\nreturn y.reshape(1, 4, 2, 8, 3)",
                "self.a, self.b = torch.nn.Linear(3, 6), torch.nn.Linear(6, 3)",
            ),
            "high_rank_linear",
        ),
    ],
)
def test_rewritten_model_can_be_lowered(job, settings, place, model, rewrite):
    with run(job(network(*model)), settings, place) as outcome:
        (artifact,) = outcome.artifacts

        assert artifact.rewrites == (rewrite,)
        assert artifact.parity.state == "ok"


def test_model_with_too_many_parameters_is_skipped_with_their_number(job, settings, place):
    with run(job(CLASSIFIER, max_parameters=100), settings, place) as outcome:
        assert outcome.artifacts == ()
        assert outcome.parameters == 260
        assert "260 parameters, above the limit of 100" in outcome.skipped


def test_operator_without_lowering_is_named(job, settings, place):
    failure = failure_of(job(network("return torch.lgamma(x)")), settings, place)

    assert (failure.failure_class, failure.stage) == (FailureClass.MODEL, Stage.LOWER)
    assert failure.details["operator"] == "aten.lgamma.default"
    assert failure.details["cause"] == "operator aten.lgamma.default cannot be lowered to LiteRT"
    assert "called as torch.lgamma, at tiny.py:9: return torch.lgamma(x); " in failure.reason


def test_what_the_hosts_runtime_refuses_is_not_the_models_fault(job, settings, place, monkeypatch):
    # `arange` of 8-bit integers, of which `eye` is made, as it is without its rewrite.
    monkeypatch.delitem(OPERATORS, torch.ops.aten.arange.start_step)
    failure = failure_of(job(network("return x + torch.eye(x.shape[2], x.shape[3])")), settings, place)

    assert (failure.failure_class, failure.stage) == (FailureClass.RUNTIME, Stage.PARITY)
    assert failure.details["operator"] == "STABLEHLO_IOTA"
    assert "LiteRT on the host refuses the artifact's operator STABLEHLO_IOTA" in failure.reason


def test_failure_contains_traceback_and_stderr_of_the_model(job, settings, place):
    code = network("return x.view(7)", top="print('hello from the model', file=sys.stderr)")

    failure = failure_of(job(code), settings, place)

    assert (failure.failure_class, failure.stage) == (FailureClass.MODEL, Stage.LOAD)
    assert "tiny.py" in failure.details["traceback"]
    assert "hello from the model" in failure.details["stderr_tail"]
    assert set(failure.details["timings_ns"]) == {"load"}


def test_model_code_has_no_network_settings_or_privileges(job, settings, place, monkeypatch):
    monkeypatch.setenv("NNLITE_LOG_LEVEL", "DEBUG")
    seen = """
        import json, socket
        def refused(family):
            try:
                return socket.socket(family).close()
            except OSError as error:
                return error.errno
        print(json.dumps({
            "uid": os.getuid(), "offline": os.environ["HF_HUB_OFFLINE"],
            "sockets": [refused(socket.AF_INET), refused(socket.AF_INET6), refused(socket.AF_UNIX)],
            "ours": [name for name in os.environ if name.startswith("NNLITE")],
            "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1],
            "home": os.environ["HOME"] == os.getcwd(), "writable": os.access(".", os.W_OK),
            "oom": int(pathlib.Path("/proc/self/oom_score_adj").read_text()),
        }))
        raise SystemExit
    """
    failure = failure_of(job(network("return x", top=seen)), settings, place)

    import json

    found = json.loads(failure.details["stderr_tail"].splitlines()[0])
    abilities = sandbox.abilities()
    assert found["uid"] == (abilities.unprivileged_uid or os.getuid())
    assert abilities.network_problem is None
    assert found["sockets"] == [errno.EAFNOSUPPORT, errno.EAFNOSUPPORT, None]
    assert (found["offline"], found["ours"], found["home"], found["writable"]) == ("1", [], True, True)
    assert len(found["descriptors"]) == 5, "standard three, the result pipe, and the file of stacks"
    assert found["oom"] == 1000
