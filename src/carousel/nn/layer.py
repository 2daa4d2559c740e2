"""The base of our layers: torch's tracers treat them as they treat the layers of torch.nn."""

from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from torch import nn
from torch.fx import Proxy, Tracer


class Layer(nn.Module):
    """A module that torch.fx keeps whole, and torch.jit.script refuses in one line.

    torch.fx takes the layers of torch.nn for leaves by the name of their package, and traces into
    all others. A layer with a time loop, or with checks of its input, has to be a leaf as well.
    """

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer, or note the call in the graph that torch.fx is tracing.

        Here, not in forward: the hooks run when the traced module runs, not while it is traced.
        """
        proxy = next(_proxies((*args, *kwargs.values())), None)
        if proxy is None:
            return super()._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]
        tracer = proxy.tracer
        if not isinstance(tracer, Tracer):
            raise TypeError(
                f"{type(self).__name__} cannot be traced by {type(tracer).__name__}, which does "
                "not know its path in the model; torch.fx.Tracer can"
            )
        return tracer.create_proxy("call_module", tracer.path_of_module(self), args, kwargs)

    def __prepare_scriptable__(self) -> NoReturn:  # torch's hook for what cannot be compiled
        """Refuse torch.jit.script.

        Raises:
            RuntimeError: Always; the message names what works.
        """
        name = type(self).__name__
        raise RuntimeError(
            f"carousel's {name} cannot be compiled by torch.jit.script; use torch.compile, "
            "torch.export, or torch.jit.trace"
        )


def has_hooks(*modules: nn.Module) -> bool:
    """Return whether a hook is registered on one of the modules, forward or backward."""
    return any(
        module._forward_pre_hooks
        or module._forward_hooks
        or module._backward_pre_hooks
        or module._backward_hooks
        for module in modules
    )


def _proxies(arguments: Iterable[Any]) -> Iterator[Proxy]:
    """Yield the proxies of torch.fx among arguments, also in a pair of states."""
    for argument in arguments:
        if isinstance(argument, Proxy):
            yield argument
        elif isinstance(argument, (tuple, list)):
            yield from _proxies(argument)
