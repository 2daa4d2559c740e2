"""The recurrences and the attention are our own: no name of torch's stands in the code, none runs.

Matrix products and the tape are torch's; recurrent layers, attention and what lies beneath them
are not (ARCHITECTURE.md). `carousel.verify` may name them, to compare against them, and
`carousel.interop`, to hand trained weights over to them.
"""

import ast
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.profiler import profile
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils._python_dispatch import TorchDispatchMode

import carousel
from conftest import ROOT

# Part of a dotted name whose root is torch; torch.nn.utils.rnn holds no recurrence.
BANNED = re.compile(
    r"\*|_VF|_?(RNN|GRU|LSTM|rnn|gru|lstm)(Base|CellBase|Cell|_cell|_tanh|_relu)*"
    r"|\w*_(rnn|gru|lstm)(_.*)?|Transformer\w*|transformer|MultiheadAttention|flex_attention"
    r"|\w*(multi_head_attention|scaled_dot_product)\w*"
)
# Of another root than torch and carousel: there `self.lstm` may be one of ours.
BANNED_ANYWHERE = re.compile(r"_VF|(RNN|GRU|LSTM)(Cell)?|scaled_dot_product\w*|mkldnn_rnn\w*")


def banned_names(source: str) -> list[str]:
    """The names that a module may not use, in its syntax tree: comments and docstrings aside."""
    return [name for name in dotted_names(ast.parse(source)) if is_banned(name)]


def is_banned(name: str) -> bool:
    root, *parts = re.split(r"\.|::", name.replace("torch.nn.utils.rnn", "torch.nn.utils"))
    pattern = {"torch": BANNED, "aten": BANNED}.get(root, BANNED_ANYWHERE)
    return root != "carousel" and any(pattern.fullmatch(part) for part in parts)


def dotted_names(tree: ast.Module) -> Iterator[str]:
    """Every name used, from its root: with F for torch.nn.functional, F.relu is in full."""
    known: dict[str, str] = {}

    def full(node: ast.AST) -> str:
        match node:
            case ast.Name(name):
                return known.get(name, "?")
            case ast.Attribute(owner, name):
                return f"{full(owner)}.{name}"
            case ast.Call(ast.Name("getattr"), [owner, ast.Constant(str(name)), *_]):
                return f"{full(owner)}.{name}"
            case _:
                return "?"

    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                for alias in names:
                    known[alias.asname or alias.name.split(".")[0]] = (
                        alias.name if alias.asname else alias.name.split(".")[0]
                    )
                    yield alias.name
            case ast.ImportFrom(module, names):
                for alias in names:
                    known[alias.asname or alias.name] = f"{module}.{alias.name}"
                    yield f"{module}.{alias.name}"
            case ast.Assign([ast.Name(name)], value) if full(value).startswith("torch."):
                known[name] = full(value)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute() | ast.Call():
                yield full(node)
            case ast.Constant(str(text)) if re.fullmatch(r"(torch\.|aten::)[\w.:]+", text):
                yield text


def test_no_name_of_torchs_layers_stands_in_the_code() -> None:
    paths = [path for room in ("src/**/*.py", "app/**/*.py", "*.py") for path in ROOT.glob(room)]
    assert ROOT / "src/carousel/ops/lstm.py" in paths
    exempt = [ROOT / "src/carousel" / room for room in ("verify", "interop")]
    own = [path for path in paths if not any(map(path.is_relative_to, exempt))]
    found = {str(path): banned_names(path.read_text(encoding="utf-8")) for path in own}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import torch\nlayer = torch.nn.LSTM(3, 4)",
        "import torch.nn as nn\nclass Mine(nn.GRU): ...",
        "from torch import nn\nnn.RNNCell(3, 4)",
        "from torch.nn import LSTM as Memory",
        "from torch.nn import *",
        "from torch.nn import functional as F\nF.scaled_dot_product_attention(q, k, v)",
        "import torch\ntorch.nn.functional.multi_head_attention_forward(q)",
        "from torch import nn\nnn.MultiheadAttention(4, 2), nn.TransformerEncoderLayer(4, 2)",
        "import torch\ntorch.lstm(x)",
        "import torch\ntorch.rnn_tanh_cell(x)",
        "from torch import _VF\n_VF.gru(x)",
        "import torch\ntorch._cudnn_rnn(x)",
        "import torch\ntorch.ops.aten.mkldnn_rnn_layer(x)",
        "import torch\ntorch.ops.aten._scaled_dot_product_flash_attention(q)",
        "import torch\nrooms = torch.nn\nrooms.LSTMCell(3, 4)",
        "import torch\ngetattr(torch.nn, 'LSTM')(3, 4)",
        "import importlib\nimportlib.import_module('torch.nn.modules.rnn')",
        "lookup('aten::lstm')",
        "def run(rooms):\n    return rooms.nn.LSTM(3, 4)",
    ],
)
def test_the_scan_sees(source: str) -> None:
    assert banned_names(source)


@pytest.mark.parametrize(
    "source",
    [
        "from carousel.ops.lstm import LSTM\nLSTM.step",
        "import carousel\nclass M:\n    def f(self):\n        self.lstm = carousel.LSTM(3, 4)",
        "from torch.nn.utils.rnn import PackedSequence",
        '"""As torch.nn.LSTM."""\n# torch.lstm would be faster',
        "from torch import nn\nnn.Linear(3, 4), nn.functional.softmax(x), nn.Embedding(3, 4)",
        "exports = {'LSTM': 'carousel.nn.lstm'}",
    ],
)
def test_the_scan_lets_pass(source: str) -> None:
    assert banned_names(source) == []


# In C++ our own families bear their names too: banned is what libraries call theirs.
BANNED_IN_CPP = re.compile(
    r"\b(at|torch|aten|native)::\w*(lstm|gru|rnn|LSTM|GRU|RNN|scaled_dot_product)\w*"
    r"|\b(dnnl|ideep|mkldnn|cudnn|miopen)\w*|\b(vanilla_)?(rnn|lstm|gru|augru)_(forward|backward)\b"
    r"|\btorch::nn\b|#include\s*[<\"].*(lstm|gru|rnn|dnnl|ideep|torch/nn)\w*[./]",
)


def banned_in_cpp(source: str) -> list[str]:
    """The names that C++ may not use; comments aside."""
    code = re.sub(r"//[^\n]*|/\*.*?\*/", "", source, flags=re.DOTALL)
    return [match.group() for match in BANNED_IN_CPP.finditer(code)]


def test_no_name_of_a_librarys_recurrence_stands_in_the_kernels() -> None:
    paths = [p for p in (ROOT / "src").rglob("*") if p.suffix in (".cpp", ".h", ".cu", ".cuh")]
    assert ROOT / "src/carousel/kernels/cpu/lstm.cpp" in paths
    found = {str(path): banned_in_cpp(path.read_text(encoding="utf-8")) for path in paths}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        "auto y = at::lstm(x, hx, weights, true, 1, 0., false, false, false);",
        "return at::native::gru_cell(x, h);",
        "at::_thnn_fused_lstm_cell(a, b, c);",
        "dnnl::lstm_forward::primitive_desc p;",
        "using dnnl::vanilla_rnn_forward;",
        "mkldnn_rnn_layer(x);",
        "cudnnRNNForward(handle);",
        "torch::nn::LSTM layer(3, 4);",
        "#include <ATen/ops/lstm.h>",
        '#include "oneapi/dnnl/dnnl.hpp"',
    ],
)
def test_the_scan_sees_in_cpp(source: str) -> None:
    assert banned_in_cpp(source)


class Watch(TorchDispatchMode):
    """Notes which operators are dispatched."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(str(func))
        return func(*args, **(kwargs or {}))


def banned_operators(run: Callable[[], Tensor]) -> set[str]:
    """Of all that forward and backward dispatch, what is a recurrence or an attention of torch's.

    A dispatch mode sees only what torch takes apart into: in double precision nn.LSTM is a row of
    products to it. The profiler names the whole as well.
    """
    with profile() as profiler, Watch() as watch:
        run().sum().backward()
    names = watch.names | {event.name for event in profiler.function_events}
    assert names, "nothing was seen"
    return {n for n in names if re.search(r"rnn|gru|lstm|scaled_dot_product|multi_head", n, re.I)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("backend", ["auto", "bptt", "autograd"])
@pytest.mark.parametrize(
    "layer", [carousel.RNN, carousel.GRU, carousel.LSTM], ids=lambda layer: layer.__name__
)
def test_no_recurrence_of_torchs_runs(layer: Any, backend: str, dtype: torch.dtype) -> None:
    ours = layer(3, 4, 2, bidirectional=True, backend=backend, dtype=dtype)
    x = torch.randn(5, 2, 3, dtype=dtype)
    packed = pack_padded_sequence(x, [5, 3])
    assert banned_operators(lambda: ours(x)[0]) == set()
    assert banned_operators(lambda: ours(packed)[0].data) == set()


@pytest.mark.parametrize("cell", [carousel.RNNCell, carousel.GRUCell, carousel.LSTMCell])
def test_no_cell_of_torchs_runs(cell: Any) -> None:
    def run() -> Tensor:
        state = cell(3, 4)(torch.randn(2, 3))
        return state[0] if isinstance(state, tuple) else state

    assert banned_operators(run) == set()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_the_watch_sees_recurrences(layer: Any, dtype: torch.dtype) -> None:
    x = torch.randn(2, 3, dtype=dtype)

    def run() -> Tensor:
        y = layer(3, 4, dtype=dtype)(x)
        return y[0] if isinstance(y, tuple) else y

    assert banned_operators(run)


def test_the_watch_sees_attention() -> None:
    layer, x = nn.MultiheadAttention(4, 2), torch.randn(5, 2, 4)
    assert banned_operators(lambda: layer(x, x, x, need_weights=False)[0])
