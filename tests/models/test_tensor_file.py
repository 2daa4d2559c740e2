"""Our reader of safetensors files: the library's own files come back; nothing it refuses passes."""

import random

import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from budgets import amount
from carousel.errors import CheckpointError
from carousel.models.tensor_file import check_like, read_header, read_tensors
from models.checkpoints import random_damage, tensor_file

DAMAGES = amount(500, 10_000)
TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32)
TYPES += (torch.int16, torch.int8, torch.uint8, torch.bool)


def tensors() -> dict[str, Tensor]:
    """One of each type, and of every number of axes; an empty one among them."""
    shapes = [(), (3,), (2, 5), (0, 4), (1, 2, 3)]
    return {
        f"{dtype} {k}": torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype)
        for dtype in TYPES
        for k, shape in enumerate(shapes)
    }


def read(data: bytes) -> dict[str, Tensor]:
    return read_tensors(data, read_header(data))


def assert_equal(got: dict[str, Tensor], want: dict[str, Tensor]) -> None:
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        same = (got[name].dtype, got[name].shape) == (tensor.dtype, tensor.shape)
        assert same, name
        assert (
            got[name].numpy(force=True).tobytes() == tensor.numpy(force=True).tobytes()
            if (tensor.dtype != torch.bfloat16)
            else torch.equal(got[name].view(torch.int16), tensor.view(torch.int16))
        ), name


def test_what_the_library_writes_comes_back() -> None:
    assert_equal(read(safetensors.torch.save(tensors())), tensors())
    assert_equal(read(safetensors.torch.save(tensors(), {"format": "pt"})), tensors())
    assert_equal(read(safetensors.torch.save({})), {})


def test_each_tensor_has_memory_of_its_own_where_torch_would_put_it() -> None:
    data = safetensors.torch.save(tensors())
    for name, tensor in read(data).items():
        assert tensor.untyped_storage().nbytes() == tensor.nbytes, name
        assert tensor.data_ptr() % 64 == 0, name
        tensor.zero_()
    assert_equal(read(data), tensors())


def test_what_is_accepted_is_what_the_library_reads() -> None:
    """Of files whose header was damaged, it may refuse more, never less."""
    data, draw, accepted = safetensors.torch.save(tensors()), random.Random(0), 0
    begin = 8 + int.from_bytes(data[:8], "little")
    for _ in range(DAMAGES):
        damaged = random_damage(data[:begin], draw) + data[begin:]
        try:
            got = read(damaged)
        except CheckpointError:
            continue
        assert_equal(got, safetensors.torch.load(damaged))
        accepted += damaged != data
    assert accepted > 5, "hardly any was accepted"


def row(begin: int, end: int, *shape: object, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("header", "size", "message"),
    [
        ({"x": row(4, 8, 1)}, 8, "overlap or leave gaps"),
        ({"x": row(0, 4, 1), "y": row(8, 12, 1)}, 12, "overlap or leave gaps"),
        ({"x": row(0, 4, 1), "y": row(0, 4, 1)}, 4, "overlap or leave gaps"),
        ({"x": row(0, 8, 2), "y": row(4, 12, 2)}, 12, "overlap or leave gaps"),
        ({"x": row(0, 4, 1)}, 8, "its tensors end at byte"),
        ({"x": row(0, 8, 2)}, 4, "its tensors end at byte"),
        ({"x": row(0, 8, 1)}, 8, "damaged"),
        ({"x": row(0, 4, -1, -1)}, 4, "damaged"),
        ({"x": row(0, 4, True)}, 4, "damaged"),
        ({"x": row(0, 4, 1.0)}, 4, "damaged"),
        ({"x": row(4, 0, 1)}, 4, "damaged"),
        ({"x": row(0, 4, 1, dtype="F99")}, 4, "damaged"),
        ({"x": {"dtype": "F32"}}, 4, "damaged"),
        ({"x": [0, 4]}, 4, "damaged"),
        ([], 0, "damaged"),
        ("[" * 100_000, 0, "damaged"),
        ("", 0, "its header would end at byte 8 of 8"),
    ],
)
def test_a_header_that_lies_is_refused(header: object, size: int, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_header(tensor_file(header, bytes(size)))


@pytest.mark.parametrize("other", [torch.zeros(2, 3).double(), torch.zeros(3, 2), torch.zeros(6)])
def test_another_type_or_shape_is_named(other: Tensor) -> None:
    check_like(torch.zeros(2, 3), torch.zeros(2, 3), "w", "the model")
    with pytest.raises(CheckpointError, match=r"^w is .*, the model needs torch\.float32 \(2, 3\)"):
        check_like(other, torch.zeros(2, 3), "w", "the model")
