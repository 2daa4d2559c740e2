"""What must hold of a transformer's attention, with its projections and its cache.

Each check takes the module of CausalSelfAttention.
"""

from collections.abc import Callable
from itertools import combinations, pairwise
from types import ModuleType
from typing import Any

import torch
from patching import planted
from torch import Tensor

import op_definitions
from anchors import Edit
from assertions import assert_near
from carousel.verify.attention import ATTENTION_MASKED
from carousel.verify.op_spec import Case, Tensors
from carousel.verify.positions import ROTARY_SCORES
from hand_derived import and_gradients
from op_trials import normal

B, T, N, K, C = 2, 5, 3, 4, 3
D = N * K


def planted_block(module: str, *edits: Edit) -> ModuleType:
    return planted("carousel.nn", ("transformer",), module, *edits)["transformer"]


def inputs(code: ModuleType) -> tuple[Any, Tensors]:
    """The layer, and what has a gradient: its input and its parameters, every one random."""
    layer = code.CausalSelfAttention(D, N, C, is_rotary=True).double()
    for k, parameter in enumerate(layer.parameters()):
        parameter.data = normal(*parameter.shape, seed=k) / D**0.5
    return layer, {"x": normal(B, T, D, seed=9).requires_grad_()} | dict(layer.named_parameters())


def by_definition(p: Tensors) -> Tensor:
    """Head by head, each with its rows of the projection, its turned keys and its loop."""
    parts = []
    for part in range(3):
        rows = [slice(part * D + n * K, part * D + (n + 1) * K) for n in range(N)]
        w, b = p["in_proj.weight"], p["in_proj.bias"]
        parts.append(torch.stack([p["x"] @ w[row].T + b[row] for row in rows], dim=1))
    turned = op_definitions.rotary(
        Case(ROTARY_SCORES, {}, dict(zip("qk", parts, strict=False)), {})
    )
    heads = turned | {"v": parts[2]}
    y = op_definitions.attention(Case(ATTENTION_MASKED, {"T": T, "S": T, "C": C}, heads, {}))["y"]
    return torch.cat(list(y.unbind(1)), -1) @ p["out_proj.weight"].T + p["out_proj.bias"]


def matches_the_definition(code: ModuleType) -> None:
    """One call, from no past."""
    layer, p = inputs(code)
    got, want = {"y": layer(p["x"], None)[0]}, {"y": by_definition(p)}
    assert_near(and_gradients(got, p), and_gradients(want, p))


def obeys_the_streaming_law(code: ModuleType) -> None:
    """Whole = any split; outputs and gradients, also through the cache."""
    layer, p = inputs(code)
    whole = and_gradients({"y": layer(p["x"], None)[0]}, p)
    for cuts in (cuts for n in range(1, T) for cuts in combinations(range(1, T), n)):
        outputs, past = [], None
        for start, end in pairwise((0, *cuts, T)):
            y, past = layer(p["x"][:, start:end], past)
            outputs.append(y)
        assert_near(and_gradients({"y": torch.cat(outputs, dim=1)}, p), whole)


def sees_its_window(code: ModuleType) -> None:
    """Each position depends on itself and the C - 1 before it, of its own text."""
    layer, p = inputs(code)
    y, u = layer(p["x"], None)[0], torch.arange(1.0, D + 1).double()
    for b, t in ((b, t) for b in range(B) for t in range(T)):
        (dx,) = torch.autograd.grad(y[b, t] @ u, p["x"], retain_graph=True)
        window = torch.zeros(B, T, dtype=torch.bool)
        window[b, max(0, t - C + 1) : t + 1] = True
        assert torch.equal(dx.abs().amax(-1) > 0, window)


BLOCK_CHECKS: dict[str, Callable[[ModuleType], None]] = {
    "definition": matches_the_definition,
    "streaming": obeys_the_streaming_law,
    "causality": sees_its_window,
}
