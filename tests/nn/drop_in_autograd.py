"""Rows of docs/drop_in.md: autograd's modes, torch.func, vectorised Jacobians."""

import torch
from drop_in_checks import (
    Check,
    along_first,
    batched_gradients,
    by_names,
    checkpointed,
    double_backward,
    ensemble,
    flat,
    func_jvp,
    func_vjp,
    func_vmap,
    functional_hessian,
    gradient_of_each,
    gradients,
    has_tangents,
    jacobian,
    no_grad_inside_enable_grad,
    of_parameters,
    packed_hooks,
    parts,
    tangents,
    tangents_of_weights,
    total,
    twice_backward,
    under_autograd_backend,
    under_bptt_backend,
    vmapped_gradients,
    within,
)

functional = torch.autograd.functional

ROWS: dict[str, Check] = {
    "forward": flat,
    "backward": gradients,
    "`no_grad`": within(torch.no_grad),
    "`inference_mode`": within(torch.inference_mode),
    "`enable_grad` inside `no_grad`": no_grad_inside_enable_grad,
    "`retain_graph`, backward twice": twice_backward,
    "`set_detect_anomaly`": within(torch.autograd.detect_anomaly, gradients),
    "`saved_tensors_hooks`": packed_hooks,
    "`save_on_cpu`": within(torch.autograd.graph.save_on_cpu, gradients),
    "`checkpoint`, reentrant": checkpointed(True),
    "`checkpoint`, not reentrant": checkpointed(False),
    "`forward_ad`": tangents,
    "`forward_ad` under `no_grad`": within(torch.no_grad, tangents),
    "`forward_ad` under `inference_mode`": within(torch.inference_mode, has_tangents),
    "`forward_ad` of the weights": tangents_of_weights,
    "`forward_ad` of the weights under `no_grad`": within(torch.no_grad, tangents_of_weights),
    "`forward_ad`, backend `autograd`": under_autograd_backend(tangents),
    "`forward_ad`, backend `bptt`": under_bptt_backend(tangents),
    "double backward": double_backward,
    "double backward, backend `autograd`": under_autograd_backend(double_backward),
    "`functional.jvp` (double backward)": lambda layer, x: functional.jvp(
        *along_first(layer, x), torch.ones_like(x[0])
    ),
    "`functional.vjp`": lambda layer, x: functional.vjp(
        *along_first(layer, x), tuple(torch.ones_like(y) for y in flat(layer, x))
    ),
    "`functional.hessian`": lambda layer, x: functional.hessian(
        lambda first: total(layer, (first, *x[1:])), x[0]
    ),
    "`functional.jacobian`": jacobian(),
    "`functional.jacobian(vectorize=True)`": jacobian(vectorize=True),
    "`functional.jacobian`, forward mode": jacobian(vectorize=True, strategy="forward-mode"),
    "`is_grads_batched`": batched_gradients,
    "`func.vmap` over `autograd.grad`": vmapped_gradients,
    "`func.grad`": lambda layer, x: torch.func.grad(of_parameters(layer, x))(by_names(layer)),
    "`func.grad`, backend `bptt`": under_bptt_backend(
        lambda layer, x: torch.func.grad(of_parameters(layer, x))(by_names(layer))
    ),
    "`func.vmap`": func_vmap,
    "`func.vmap` of `grad`": gradient_of_each,
    "`func.vmap` over stacked modules": ensemble,
    "`func.jvp`": func_jvp,
    "`func.jvp` under `no_grad`": within(torch.no_grad, func_jvp),
    "`func.vjp`": func_vjp,
    "`func.jacrev`": lambda layer, x: torch.func.jacrev(along_first(layer, x)[0])(x[0]),
    "`func.jacfwd`": lambda layer, x: torch.func.jacfwd(along_first(layer, x)[0])(x[0]),
    "`func.hessian`": functional_hessian,
    "`func.functional_call`": lambda layer, x: parts(
        torch.func.functional_call(layer, {n: 2 * p for n, p in layer.named_parameters()}, x)
    ),
}
