"""Ops that autograd differentiates by their hand-derived backward pass."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from carousel.kernels.dispatch import AUTOGRAD, choose
from carousel.nn.autograd import disable_autocast, hand_derived

Forward = Callable[..., tuple[Any, ...]]
Backward = Callable[..., tuple[Tensor | None, ...]]


class HandDerived:
    """One torch.autograd.Function, made from a forward and a backward function.

    Called, it uses the hand-derived backward pass, or lets torch differentiate `forward` where the
    backend is `autograd`. `apply` always uses the hand-derived one.
    """

    def __init__(
        self, name: str, forward: Forward, backward: Backward, *, materialize_grads: bool = True
    ) -> None:
        """Make the function.

        Args:
            name: Its name in `grad_fn`.
            forward: Takes the arguments and returns the output (a tensor, or a tuple of them), a
                tuple of what to save (tensors or None), and then any constants.
            backward: Takes ctx and the gradients of the outputs, and returns those of the
                arguments. ctx has `saved_tensors` (to be read once only), `constants` and
                `needs_input_grad`. Runs with autocast off.
            materialize_grads: Whether gradients that autograd does not define become zeros; else
                they are None.
        """

        def save_and_return(ctx: Any, *arguments: Any) -> Any:
            output, saved, *ctx.constants = forward(*arguments)
            # Never as an attribute: an output kept on ctx is a cycle that leaks.
            ctx.save_for_backward(*saved)
            ctx.set_materialize_grads(materialize_grads)
            return output

        def in_own_precision(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
            device = next(gradient.device for gradient in gradients if gradient is not None)
            with disable_autocast(device):
                return backward(ctx, *gradients)

        methods = {
            "forward": staticmethod(save_and_return),
            "backward": staticmethod(hand_derived(in_own_precision)),
        }
        self._forward = forward
        self._function: Any = type(name, (torch.autograd.Function,), methods)

    def __call__(self, *arguments: Any, backend: str = "auto") -> Any:
        """Return the output; ValueError if the backend cannot run under an active transform."""
        tensors = (each for each in arguments if isinstance(each, Tensor))
        if choose(backend, *tensors) is AUTOGRAD:
            return self._forward(*arguments)[0]
        return self._function.apply(*arguments)

    def apply(self, *arguments: Any) -> Any:
        """Return the output, which autograd will differentiate by `backward`."""
        return self._function.apply(*arguments)
