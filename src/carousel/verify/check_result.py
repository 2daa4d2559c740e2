"""The result of a check: one number, and the bound that it must not exceed."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch

from carousel.verify.op_spec import Tensors


class CheckResult(NamedTuple):
    """The worst error that a check has met.

    Attributes:
        reached: The error; None where the check does not apply.
        bound: The largest error that passes.
        where: The tensor and the case with that error; or why the check does not apply.
        cases: How many cases were tried.
        is_not_run: Whether the check cannot run on this machine; `where` says why.
    """

    reached: float | None
    bound: float = math.inf
    where: str = ""
    cases: int = 0
    is_not_run: bool = False

    @property
    def holds(self) -> bool:
        """Whether the check did not fail: it passed, does not apply, or was not run."""
        return self.reached is None or self.reached <= self.bound


def distance(got: Tensors, want: Tensors, bound: float, case: str = "") -> CheckResult:
    """Return the largest ‖got - want‖ / ‖want‖ of all tensors, and which one it was.

    Entry by entry a bound has no meaning where an entry is near zero by cancellation; over the
    whole tensor it says how many digits agree.
    """
    if got.keys() != want.keys():
        return CheckResult(math.inf, bound, f"{sorted(got)} is not {sorted(want)}", 1)
    return worst(
        CheckResult(_relative(got, want, name), bound, f"{name}{case and f' ({case})'}")
        for name in want
    )._replace(cases=1)


def worst(results: Iterable[CheckResult]) -> CheckResult:
    """Return the result with the largest error, with the number of all their cases."""
    every = list(results)
    largest = max(every, key=lambda result: result.reached or 0.0)
    return largest._replace(cases=sum(result.cases for result in every))


def _relative(got: Tensors, want: Tensors, name: str) -> float:
    if got[name].shape != want[name].shape:
        return math.inf
    norm = torch.linalg.vector_norm
    error, scale = norm(got[name] - want[name]).item(), norm(want[name]).item()
    if error == 0:
        return 0.0
    relative = error / scale if scale else math.inf
    return math.inf if math.isnan(relative) else relative
