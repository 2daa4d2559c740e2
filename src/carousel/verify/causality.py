"""Causality: each output depends on what it must see, and on nothing else.

Not on what comes later, not on what is before its window, not on another row.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from carousel.verify.check_result import CheckResult, worst
from carousel.verify.op_spec import Tensors


class Scene(NamedTuple):
    """A function of what stands at places of rows, and what each of its outputs must see.

    Attributes:
        run: Returns y (T, R, ·) for the sources.
        sources: By name, (S, R, ·) each.
        seen: By name, (T, S, R): whether y[t] depends on source[s] of the same row.
    """

    run: Callable[[Tensors], Tensor]
    sources: Tensors
    seen: Tensors


def causality(draw_scene: Callable[[int], Scene], seeds: range) -> CheckResult:
    """Return the part of all dependences, of one output on one input, that is not as it must be."""
    return worst(_one(draw_scene(seed), seed) for seed in seeds)


def _one(scene: Scene, seed: int) -> CheckResult:
    wrong = torch.cat([_by_value(scene, seed), _by_gradient(scene)]).double().mean().item()
    return CheckResult(wrong, bound=0.0, where=f"seed {seed}", cases=1)


def _by_value(scene: Scene, seed: int) -> Tensor:
    """Change source[s, r]: tell where an output changes that does not see it."""
    y = scene.run(scene.sources)
    generator = torch.Generator().manual_seed(seed)
    wrong = []
    for name, source in scene.sources.items():
        for s in range(source.shape[0]):
            for r in range(source.shape[1]):
                x = source.clone()
                x[s, r] += torch.randn(x.shape[-1], generator=generator, dtype=x.dtype)
                changed = (scene.run({**scene.sources, name: x}) != y).any(-1)  # (T, R)
                changed[scene.seen[name][:, s, r], r] = False  # as they may
                wrong.append(changed.flatten())
    return torch.cat(wrong)


def _by_gradient(scene: Scene) -> Tensor:
    """Differentiate y[t, r]: tell where a gradient is zero and must not be, or the reverse.

    A change of the value would do as well, if rounding did not swallow small ones.
    """
    sources = {name: x.detach().clone().requires_grad_() for name, x in scene.sources.items()}
    y = scene.run(sources)
    u = torch.arange(1, y.shape[-1] + 1, dtype=y.dtype)  # no unit's share may cancel another's
    wrong = []
    for t in range(y.shape[0]):
        for r in range(y.shape[1]):
            gradients = torch.autograd.grad(
                y[t, r] @ u, list(sources.values()), retain_graph=True, materialize_grads=True
            )
            for (name, x), d in zip(sources.items(), gradients, strict=True):
                must = torch.zeros(x.shape[:2], dtype=torch.bool)
                must[:, r] = scene.seen[name][t, :, r]
                wrong.append(((d != 0).any(-1) != must).flatten())
    return torch.cat(wrong)
