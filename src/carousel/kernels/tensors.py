"""Tensors that the CPU kernels support."""

import torch
from torch import Tensor


def unsupported_tensor(*tensors: Tensor) -> str | None:
    """Return why a kernel does not support these tensors; None if it does."""
    for tensor in tensors:
        if tensor.device.type != "cpu":
            return f"the kernels run on the CPU, and this is on {tensor.device}"
        if tensor.dtype not in (torch.float32, torch.bfloat16):
            return f"the kernels compute in float32 and bfloat16, and this is {tensor.dtype}"
        if torch.compiler.is_compiling() or type(tensor) not in (Tensor, torch.nn.Parameter):
            return "tensor subclasses are not supported"
        if tensor.numel() == 0:
            return "a tensor is empty"
    return None
