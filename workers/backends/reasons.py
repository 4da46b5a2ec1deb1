"""Why a runtime cannot load a model, in words for people. Pure.

Runtimes tell it in C++ signatures, whole paragraphs or a graph; what people can act on is a few
words in it. Each pattern is looked for in order, in the messages of all runtimes.
"""

import re

_OWN_OPERATOR = "an operator of somebody's own, whose code is not in the file"
_LONGEST = 300  # characters of a message that nothing here knows

_REASONS = (
    # ONNX Runtime
    (
        r"Unsupported model IR version: (\d+), max supported IR version: (\d+)",
        "it is too new: its IR version is {0}, this {runtime} reads up to {1}; upgrade {runtime}, "
        "or export the model for an older version",
    ),
    (
        r"Opset (\d+) is under development.*?[Oo]fficial support for domain (\S+) is till opset "
        r"(\d+)",
        "it is too new: its opset of {1} is {0}, this {runtime} knows up to {2}; upgrade "
        "{runtime}, or export the model with opset {2} or older",
    ),
    (
        r"Fatal error: ([^\s(]+)\(.*?is not a registered function/op",
        f"it uses {{0}}, which this {{runtime}} does not have: {_OWN_OPERATOR}, or of a newer one",
    ),
    (
        r"No Op registered for (\S+) with domain_version of (\d+)",
        "it uses the operator {0}, which opset {1} does not have in this {runtime}: misspelt, of "
        "another opset, or of somebody's own",
    ),
    (
        r"Could not find an implementation for (\S+?)\(\d+\) node",
        "this {runtime} has no implementation of the operator {0} for these types on this device",
    ),
    (r"Protobuf parsing failed", "it is damaged, or no ONNX file"),
    (r"(This is an invalid model|Invalid model)\.? (.+)", "it contradicts itself: {1}"),
    (
        r"External data path does not exist: \"?(?:[^\"]*/)?([^\"/]+)",
        "its weights are in another file, {0}, which is not beside it",
    ),
    (
        r"External initializer: (\S+) .*?are out of bounds",
        "its weights are in another file beside it, which is too short: damaged, or a Git LFS "
        "pointer ('git lfs pull' gets the file itself)",
    ),
    # TensorFlow and Keras
    (
        r"Op type not registered '([^']+)'",
        f"it uses the operator {{0}}, which this {{runtime}} does not have: {_OWN_OPERATOR}, or of "
        "a newer one",
    ),
    (
        r"Could not locate (?:class|function) '([^']+)'",
        "it has a part of its own, '{0}', whose Python code is not in the file; save it with "
        "model.export(FOLDER), as a SavedModel, which brings what it computes",
    ),
    (
        r"deserialization of a `Lambda` layer",
        "it has a Lambda layer, which is Python code and not run from a file; save it with "
        "model.export(FOLDER), as a SavedModel",
    ),
    (r"accessible `?\.keras`? zip file", "it is damaged, or no .keras file"),
    (r"Error parsing message|Wire format was corrupt", "it is damaged, or no TensorFlow model"),
    (
        r"Failed to find any matching files for \S*?(variables/\S+)",
        "its weights, {0} in its folder, are missing",
    ),
    # PyTorch
    (
        r"schema version SchemaVersion\(major=(\d+).*?current schema version \((\d+)",
        "it was saved by another PyTorch: its schema version is {0}, this {runtime} reads {1}; "
        "take the same release, or export the model with this one",
    ),
    (
        r"(?:Unknown builtin op: |failed to resolve torch\.ops\.)([\w:]+(?:\.\w+)*)",
        f"it uses {{0}}, which this {{runtime}} does not have: {_OWN_OPERATOR}, or of a newer one",
    ),
    (
        r"PytorchStreamReader|failed finding central directory|not a ZIP archive",
        "it is damaged",
    ),
)


def plain_reason(runtime: str, message: str) -> str:
    """Return why `runtime` could not load a model, in one line, from its message."""
    text = " ".join(message.split())
    for pattern, words in _REASONS:
        if found := re.search(pattern, text[:20_000]):
            return words.format(*found.groups(), runtime=runtime)[: 2 * _LONGEST]
    return f"{runtime} cannot load it: {text[:_LONGEST]}"
