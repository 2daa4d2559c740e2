"""torch's own samples for these modules, which its test suite runs: ours answer as theirs do."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.testing._internal.common_modules import (
    ErrorModuleInput,
    ModuleErrorEnum,
    ModuleInfo,
    ModuleInput,
    module_db,
)
from twins import CELLS, LAYERS, Tensors, with_gradients

import carousel
from assertions import assert_near

SAMPLED = {getattr(nn, name): name for name in (*LAYERS, *CELLS, "MultiheadAttention")}
INFOS = [info for info in module_db if info.module_cls in SAMPLED]
each = pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
each_with_errors = pytest.mark.parametrize(
    "info",
    [info for info in INFOS if info.module_error_inputs_func is not None],
    ids=lambda info: info.name,
)
in_both_precisions = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def test_all_seven_are_sampled() -> None:
    assert {info.module_cls for info in INFOS} == set(SAMPLED)
    without_errors = [info for info in INFOS if info.module_error_inputs_func is None]
    assert [info.module_cls for info in without_errors] == [nn.MultiheadAttention]


def samples(info: ModuleInfo, dtype: torch.dtype, is_training: bool) -> list[ModuleInput]:
    """Packed ones among them, for those that have such: the others ignore the switch."""
    return info.module_inputs_func(
        info,
        "cpu",
        dtype,
        requires_grad=True,
        training=is_training,
        with_packed_sequence=True,
    )


def leaves(value: Any) -> list[Tensor]:
    """The tensors in the arguments of a call, or in what it returns."""
    if isinstance(value, PackedSequence):
        return [value.data]
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in leaves(part)]
    return [value] if isinstance(value, Tensor) else []


def outcome(module: nn.Module, sample: ModuleInput) -> Tensors:
    """Outputs, and the gradients to every input and parameter."""
    arguments, keywords = sample.forward_input.args, sample.forward_input.kwargs
    outputs = {f"output {k}": y for k, y in enumerate(leaves(module(*arguments, **keywords)))}
    given = [*leaves(arguments), *leaves(list(keywords.values()))]
    given = [x for x in given if x.dtype != torch.bool]  # masks
    return with_gradients(module, outputs, {f"input {k}": x for k, x in enumerate(given)})


@in_both_precisions
@each
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_forward_and_backward_agree(info: ModuleInfo, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    for is_training in (True, False):
        found = samples(info, dtype, is_training)
        assert found
        for sample in found:
            own, keywords = sample.constructor_input.args, sample.constructor_input.kwargs
            theirs = info.module_cls(*own, **keywords, dtype=dtype).train(is_training)
            ours = getattr(carousel, SAMPLED[info.module_cls])(*own, **keywords, dtype=dtype)
            ours.load_state_dict(theirs.state_dict(), strict=True)
            got, want = outcome(ours.train(is_training), sample), outcome(theirs, sample)
            if dtype == torch.float64:
                assert_near(got, want)
            elif info.module_cls is nn.MultiheadAttention:
                # A saturated softmax keeps few digits of 1 - p: entries cancel, torch's as well.
                assert_near(got, want, 1e-4)
            else:  # torch's bounds: inputs up to 9 saturate units, and 1 - h² keeps few digits
                torch.testing.assert_close(got, want)


def test_packed_batches_are_among_the_samples() -> None:
    found = [s for info in INFOS for s in samples(info, torch.float64, True)]
    assert sum(isinstance(s.forward_input.args[0], PackedSequence) for s in found) == 48


def error_samples(info: ModuleInfo, dtype: torch.dtype) -> list[ErrorModuleInput]:
    return info.module_error_inputs_func(info, "cpu", dtype, requires_grad=True, training=True)


@in_both_precisions
@each_with_errors
def test_what_torch_refuses_is_refused_alike(info: ModuleInfo, dtype: torch.dtype) -> None:
    """The same kind of error, at the same moment; in words of our own."""
    found = error_samples(info, dtype)
    assert found
    for error in found:
        sample = error.module_error_input
        own, keywords = sample.constructor_input.args, sample.constructor_input.kwargs
        for make in (info.module_cls, getattr(carousel, SAMPLED[info.module_cls])):
            if error.error_on is ModuleErrorEnum.CONSTRUCTION_ERROR:
                with pytest.raises(error.error_type):
                    make(*own, **keywords)
            else:
                module = make(*own, **keywords)
                with pytest.raises(error.error_type):
                    module(*sample.forward_input.args, **sample.forward_input.kwargs)
