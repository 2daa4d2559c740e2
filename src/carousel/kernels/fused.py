"""The fused CPU kernels of cpu/ as an implementation: where they run, and the call into them.

They compute what ops/ states, in float32, or with products of bf16 numbers that are summed in
float32: so under torch.autocast("cpu", torch.bfloat16), and in modules of bfloat16. The state is
float32 inside, always. The outputs have the type of the products, the last state that of the first.
"""

import logging
import os
from functools import lru_cache, partial
from threading import Lock, RLock
from typing import NamedTuple

import torch
from torch import Tensor

from carousel.errors import CarouselError
from carousel.kernels import build
from carousel.kernels.forking import make_fork_safe
from carousel.kernels.instruction_set import multiplies_bf16
from carousel.kernels.operators import operators
from carousel.machine import available_memory
from carousel.ops.recurrence import (
    DenseInput,
    EmbeddedInput,
    Family,
    Masks,
    Saved,
    Source,
    State,
    Weights,
)
from carousel.torch_internals import untested_note

FAMILIES = ("lstm", "gru", "gru_reset_before", "rnn_tanh", "rnn_relu")

_IDLE_PART = 8  # of the memory that the process may use, one part may lie idle in the kernels

_log = logging.getLogger("carousel")
_loading = Lock()
_registering = RLock()  # held across a fork: a child must not find torch's registry half changed


class Call(NamedTuple):
    """A recurrence as a layer is about to run it; product is the type its products should have."""

    family: Family
    source: Source
    weights: Weights
    masks: Masks
    compute_dtype: torch.dtype


def unsupported_reason(call: Call) -> str | None:
    """Return why the kernels cannot run this; None if they can. May trigger compilation."""
    return unsupported_call(call) or unavailable_reason(call.compute_dtype)


def unsupported_call(call: Call) -> str | None:
    """Return why no kernel supports this on any machine; None if one does."""
    family, source, weights, masks, _ = call
    if family.name not in (*FAMILIES, "lstm_with_options"):
        return f"there is no kernel for {family.name}"
    tensors = [t for t in (*source, *weights.values()) if t is not None]
    w_hh = weights["w_hh"]
    extras = weights.keys() - {"w_hh", "b_hh"}
    if isinstance(source, DenseInput) and source.gain is not None:
        extras.add("gain")
    if extras:
        return f"there is no kernel with {', '.join(sorted(extras))}"
    if w_hh.device.type != "cpu":
        return f"the kernels run on the CPU, and this is on {w_hh.device}"
    if w_hh.dtype not in (torch.float32, torch.bfloat16):
        return f"the kernels compute in float32 and bfloat16, and this is {w_hh.dtype}"
    if masks.h is not None or masks.candidate is not None or not _ends_only(masks.hold):
        return "there is no kernel with zoneout or dropout inside the recurrence"
    if family.name not in FAMILIES:
        return f"there is no kernel for {family.name}"
    if not all(tensor.numel() for tensor in tensors):
        return "a tensor is empty"
    if torch.compiler.is_compiling() or {type(t) for t in tensors} - {Tensor, torch.nn.Parameter}:
        return "tensor subclasses are not supported"
    return None


def _ends_only(hold: tuple[Tensor | None, ...]) -> bool:
    """Return whether all that is held is whole rows, whose sequences are over."""
    first, *others = hold
    if first is None:
        return all(other is None for other in others)
    return (
        first.shape[2] == 1
        and all(other is None or torch.equal(other, first) for other in others)
        and bool(((first == 0) | (first == 1)).all())
    )


def unavailable_reason(compute_dtype: torch.dtype) -> str | None:
    """Return why no kernel runs with this dtype; None if they do. May trigger compilation."""
    setting = os.environ.get("CAROUSEL_KERNELS", "auto")
    if setting == "off":
        return "CAROUSEL_KERNELS=off"
    if setting != "auto":
        return _mistaken(setting)
    with _loading:
        return _load() or _refusal(compute_dtype)


def status() -> dict[str, str]:
    """Return for each dtype whether the kernels run, or why not. May trigger compilation."""
    return {
        name: unavailable_reason(compute_dtype) or f"fused: {', '.join(FAMILIES)}"
        for name, compute_dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
    }


@lru_cache
def _mistaken(setting: str) -> str:
    """Say, once, what CAROUSEL_KERNELS should be; a layer is no place to stop over it."""
    reason = f"CAROUSEL_KERNELS must be 'auto' or 'off', got {setting!r}"
    _log.warning("no CPU kernels, the layers run without: %s", reason)
    return reason


@lru_cache(maxsize=1)
def _load() -> str | None:
    """Load the library, once; return what is in the way."""
    try:
        library = build.library()
        with _registering:
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
    except (CarouselError, OSError, RuntimeError) as error:
        cause = error if isinstance(error, CarouselError) else error.__cause__ or error
        reason = " ".join(str(cause).split())
        if isinstance(error, OSError) and error.strerror:
            reason = f"{error.strerror}: {error.filename}"
        elif not isinstance(error, CarouselError):  # such as a symbol that torch has no more
            reason += untested_note(torch.__version__)
        _log.warning("no CPU kernels, the layers run without: %s", reason)
        return reason
    make_fork_safe(library)
    if memory := available_memory():
        limit_idle_memory(memory // _IDLE_PART)
    return None


@lru_cache
def _refusal(compute_dtype: torch.dtype) -> str | None:
    """Try the smallest recurrence; return what is in the way."""
    if compute_dtype == torch.bfloat16 and not multiplies_bf16():
        return "the processor does not multiply bfloat16"
    if compute_dtype not in (torch.float32, torch.bfloat16):
        return f"the kernels have no products of {compute_dtype}"
    one = torch.ones(1, 1, 1)
    weights: Weights = {"w_hh": torch.ones(1, 1)}
    try:
        _run(
            compute_dtype,
            "rnn_tanh",
            DenseInput(one, weights["w_hh"]),
            (one[0],),
            weights,
            None,
            False,
        )
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return None


def forward(
    compute_dtype: torch.dtype,
    family: Family,
    source: Source,
    state: State,
    weights: Weights,
    masks: Masks,
) -> tuple[Tensor, State, Saved]:
    """Run T steps, and save what the backward pass needs: one cache for all steps."""
    y, *rest = _run(compute_dtype, family.name, source, state, weights, _ended(masks), True)
    last, caches = rest[: len(state)], rest[len(state) :]
    return y, tuple(last), Saved(source, [tuple(caches)])


def infer(
    compute_dtype: torch.dtype,
    family: Family,
    source: Source,
    state: State,
    weights: Weights,
    masks: Masks,
) -> tuple[Tensor, State]:
    """Run T steps, and keep nothing."""
    y, *last = _run(compute_dtype, family.name, source, state, weights, _ended(masks), False)
    return y, tuple(last)


def backward(
    family: Family, dy: Tensor, dstate: State, saved: Saved, weights: Weights, masks: Masks
) -> tuple[Source, State, Weights]:
    """Return the gradients as ops/ does; that of x is empty where x asks for none."""
    source = saved.source
    x, w_input, b_ih = _tensors(source)
    dx, *rest = operators().recurrence_backward(
        family.name,
        x,
        _ended(masks),
        dy,
        list(dstate),
        list(saved.caches[0]),
        w_input,
        b_ih,
        weights["w_hh"],
        weights.get("b_hh"),
        source[0].requires_grad,
    )
    *dstate_0, dw_input, db_ih, dw_hh, db_hh = rest
    own = {"w_hh": dw_hh, "b_hh": db_hh}
    dweights = {name: own[name].to(weight.dtype) for name, weight in weights.items()}
    if isinstance(source, EmbeddedInput):
        return EmbeddedInput(None, dw_input), tuple(dstate_0), dweights  # type: ignore[arg-type]
    dw_input = dw_input.to(w_input.dtype)
    db_ih = None if b_ih is None else db_ih.to(b_ih.dtype)
    return DenseInput(dx, dw_input, db_ih), tuple(dstate_0), dweights


def limit_idle_memory(size: int) -> None:
    """Limit the bytes of unused memory that the kernels keep for later calls."""
    operators().limit_idle_memory(size)


class MemoryUsage(NamedTuple):
    """Memory that the kernels hold (cpu/allocator.h).

    Attributes:
        live: Bytes of tensors that exist.
        idle: Bytes kept for later calls.
        allocations: How often the system was asked for more.
    """

    live: int
    idle: int
    allocations: int


def memory_usage() -> MemoryUsage:
    """Return what the kernels hold now; they must be loaded."""
    return MemoryUsage(*operators().memory_usage())


def poison(is_on: bool) -> None:
    """Fill memory that the kernels allocate with NaN, so that missing writes are found."""
    operators().poison(is_on)


def _run(
    compute_dtype: torch.dtype,
    family: str,
    source: Source,
    state: State,
    weights: Weights,
    ended: Tensor | None,
    is_kept: bool,
) -> list[Tensor]:
    """Call the forward kernel: y, the last state, and if they are to be kept, three caches."""
    x, w_input, b_ih = _tensors(source)
    w_hh, b_hh = weights["w_hh"], weights.get("b_hh")
    outputs: list[Tensor] = operators().recurrence(
        family, x, ended, list(state), w_input, b_ih, w_hh, b_hh, compute_dtype, is_kept
    )
    return outputs


def _tensors(source: Source) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return a source as the kernels take it: what is read, what projects it, and its bias."""
    if isinstance(source, EmbeddedInput):
        return source.ids.long(), source.table, None
    return source.x, source.w_ih, source.b_ih


def _ended(masks: Masks) -> Tensor | None:
    """Return (T, B), where a sequence is over; None where all are of one length."""
    return None if masks.hold[0] is None else masks.hold[0].squeeze(2) == 1


def _forget_holder() -> None:
    """Reset the lock in a child of fork, where the thread that held it does not exist."""
    global _loading
    _loading = Lock()


make_fork_safe()  # also where torch's own operations compute, not the kernels
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_holder)
    os.register_at_fork(
        before=_registering.acquire,
        after_in_parent=_registering.release,
        after_in_child=_registering.release,
    )

FORWARD = {kind: partial(forward, kind) for kind in (torch.float32, torch.bfloat16)}
INFER = {kind: partial(infer, kind) for kind in (torch.float32, torch.bfloat16)}
