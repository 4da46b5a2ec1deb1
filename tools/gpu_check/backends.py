"""Models made on the spot, and whether the GPU answers as the CPU does."""

import json

from gpu_check.bench import Bench, Check, FailedError, NotHereError

_FEWEST_EQUAL = 0.95  # of the answers; scores that nearly tie may fall either way in TF32


def models(bench: Bench) -> str:
    """Models can be made here."""
    return bench.python("-m", "gpu_check.models").strip()


def same_answers(name: str) -> Check:
    """Return what compares the answers of the GPU for this model file to the CPU's."""

    def check(bench: Bench) -> str:
        if not (bench.folder / name).exists():
            raise NotHereError(f"{name} was not made")
        told = json.loads(bench.python("-m", "gpu_check.classes", name).splitlines()[-1])
        if told["device"] == "cpu":
            raise FailedError("it was served on the CPU")
        if told["equal"] < _FEWEST_EQUAL:
            raise FailedError(f"only {told['equal']:.0%} of the answers are the CPU's")
        return f"{told['equal']:.0%} of the answers are the CPU's; {told['device']}"

    return check


CHECKS: list[tuple[str, Check]] = [
    ("models", models),
    ("torch.export on the GPU", same_answers("net.pt2")),
    ("TorchScript on the GPU", same_answers("net.pt")),
]
