import pytest

from workers.backends.reasons import plain_reason


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "/src/graph/model.cc:256 onnxruntime::Model::Model(onnx::ModelProto&&)\n"
            "Unsupported model IR version: 99, max supported IR version: 14",
            "it is too new: its IR version is 99, this RT reads up to 14; upgrade RT",
        ),
        (
            "Fatal error: my.ops:Special(-1) is not a registered function/op",
            "it uses my.ops:Special, which this RT does not have: an operator of somebody's own",
        ),
        (
            "Op type not registered 'Foo' in binary running on host. Make sure the Op",
            "it uses the operator Foo, which this RT does not have",
        ),
        (
            "<class 'Functional'> could not ... Could not locate class 'Own'. Make sure",
            "it has a part of its own, 'Own', whose Python code is not in the file",
        ),
        ("Unknown builtin op: mine::relu9.\nHere are some", "it uses mine::relu9, which this RT"),
        (
            "We failed to resolve torch.ops.mine.relu9.default to an operator. If it's a custom",
            "it uses mine.relu9.default, which this RT does not have: an operator of somebody's",
        ),
        (
            "Serialized schema version SchemaVersion(major=99, minor=20) does not match our "
            "current schema version (8, 20).",
            "it was saved by another PyTorch: its schema version is 99, this RT reads 8; take",
        ),
        ("PytorchStreamReader failed reading file data", "it is damaged"),
    ],
)
def test_what_people_can_act_on_is_taken_out(message, reason):
    """Of a runtime's own story only what is wrong and what to do remains."""
    assert plain_reason("RT", message).startswith(reason)


def test_an_unknown_message_is_kept_short_and_in_one_line():
    """What nobody foresaw is told as the runtime says it, but not a whole graph of it."""
    reason = plain_reason("RT", "something\n  odd " + "x" * 5000)
    assert reason.startswith("RT cannot load it: something odd x")
    assert len(reason) < 400


def test_braces_of_a_model_are_no_placeholders():
    """A name from a file is told as it is, whatever is in it."""
    message = "Fatal error: {runtime}{0}:Op(-1) is not a registered function/op"
    assert plain_reason("RT", message).startswith("it uses {runtime}{0}:Op, which")
