"""`carousel.MultiheadAttention`: takes and returns what torch.nn.MultiheadAttention does.

Shapes: B batch, T queries, S keys, E features, N heads, K = E/N features of a head.
"""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from carousel.kernels.dispatch import Backend, check_backend
from carousel.nn.attention import attend, attention_with_weights
from carousel.nn.attention_inputs import (
    Sizes,
    as_bias,
    check_inputs,
    check_masks,
    check_sizes,
)
from carousel.nn.autograd import disable_autocast
from carousel.nn.layer import Layer
from carousel.nn.parameters import Device
from carousel.nn.validation import as_size, check_is, check_probability
from carousel.ops.attention import AttentionMask


@final
class MultiheadAttention(Layer):
    """Attention in N heads, a drop-in for torch.nn.MultiheadAttention.

    Parameter names, layout, initialisation and therefore `state_dict` are torch's; a state_dict
    moves both ways without renaming. With need_weights=False and no dropout at work, memory is
    linear in T and S, but for the masks: attn_mask and key_padding_mask together make (B, T, S).

    torch has three paths, which differ in these; here every call answers alike:

    - A query that may see no key takes nothing: its weights are 0, its output is that of
      `out_proj` for 0 (torch: nan, or the same).
    - is_causal without attn_mask is refused (torch: or without effect).
    - The keys of add_bias_kv and add_zero_attn are seen under is_causal too (torch: or not).

    Under autocast the projections run in its half precision, as torch's do; what lies between them
    is in single precision.

    Args:
        embed_dim: Features of queries and outputs, E.
        num_heads: N, a divisor of E.
        dropout: Probability of a weight being 0 while training.
        bias: Whether the four projections have biases.
        add_bias_kv: Whether a learned key and value, bias_k and bias_v, stand after the others.
        add_zero_attn: Whether a key and value of zeros stand last.
        kdim: Features of keys; None is E.
        vdim: Features of values; None is E.
        batch_first: Input and output are (B, T, E) instead of (T, B, E).
        device: Where the parameters are made.
        dtype: Type of the parameters.
        backend: "bptt" uses the hand-derived backward pass, "autograd" lets torch differentiate the
            plain form (in quadratic memory), "auto" picks the fastest that applies. They give the
            same numbers.

    Raises:
        ValueError: If a size is below 1, dropout is no probability, or backend is unknown.
        TypeError: If a size is no int, or a switch no bool.
        AssertionError: If num_heads does not divide embed_dim.

    Source: Vaswani et al. 2017, section 3.2.2; math/attention/equations.md.
    """

    __constants__ = ("batch_first",)

    in_proj_weight: nn.Parameter | None
    q_proj_weight: nn.Parameter | None
    k_proj_weight: nn.Parameter | None
    v_proj_weight: nn.Parameter | None
    in_proj_bias: nn.Parameter | None
    bias_k: nn.Parameter | None
    bias_v: nn.Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        embed_dim, num_heads = as_size("embed_dim", embed_dim), as_size("num_heads", num_heads)
        kdim = embed_dim if kdim is None else as_size("kdim", kdim)
        vdim = embed_dim if vdim is None else as_size("vdim", vdim)
        check_sizes(embed_dim=embed_dim, num_heads=num_heads, kdim=kdim, vdim=vdim)
        check_probability("dropout", dropout)
        switches = {"bias": bias, "add_bias_kv": add_bias_kv, "add_zero_attn": add_zero_attn}
        for name, switch in (switches | {"batch_first": batch_first}).items():
            check_is(name, switch, bool)
        check_backend(backend)
        self.embed_dim, self.kdim, self.vdim = embed_dim, kdim, vdim
        self._qkv_same_embed_dim = kdim == embed_dim and vdim == embed_dim
        self.num_heads, self.head_dim = num_heads, embed_dim // num_heads
        self.dropout = float(dropout)
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn
        self.backend = backend

        packed = self._qkv_same_embed_dim
        shapes: dict[str, tuple[int, ...] | None] = {
            "in_proj_weight": (3 * embed_dim, embed_dim) if packed else None,
            "q_proj_weight": None if packed else (embed_dim, embed_dim),
            "k_proj_weight": None if packed else (embed_dim, kdim),
            "v_proj_weight": None if packed else (embed_dim, vdim),
            "in_proj_bias": (3 * embed_dim,) if bias else None,
            "bias_k": (1, 1, embed_dim) if add_bias_kv else None,
            "bias_v": (1, 1, embed_dim) if add_bias_kv else None,
        }
        for name, shape in shapes.items():
            made = None if shape is None else torch.empty(shape, device=device, dtype=dtype)
            self.register_parameter(name, None if made is None else nn.Parameter(made))
        self.out_proj = NonDynamicallyQuantizableLinear(
            embed_dim, embed_dim, bias=bias, device=device, dtype=dtype
        )
        self._reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter anew, as the constructor does."""
        self.out_proj.reset_parameters()
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Draw all but out_proj.weight anew, as torch's method of this name does.

        Source: Glorot and Bengio 2010, uniform for weights, normal for bias_k and bias_v.
        """
        for name, parameter in self.named_parameters(recurse=False):
            if name == "in_proj_bias":
                nn.init.zeros_(parameter)
            elif name in ("bias_k", "bias_v"):
                nn.init.xavier_normal_(parameter)
            else:
                nn.init.xavier_uniform_(parameter)
        if self.in_proj_bias is not None:
            nn.init.zeros_(self.out_proj.bias)

    def extra_repr(self) -> str:
        """Return what torch lacks, where it is not the default."""
        return "" if self.backend == "auto" else f"backend={self.backend!r}"

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return, for each query, the weighted mean of the values of the keys that it sees.

        Args:
            query: (T, B, E), or (B, T, E) if batch_first, or (T, E) for one sequence alone.
            key: (S, B, kdim), in the form of the query.
            value: (S, B, vdim), in the form of the query.
            key_padding_mask: (B, S), without B for one sequence alone: hides keys where it is True,
                or is added to the scores where it is of floating point.
            need_weights: Whether to return the weights too; without, memory stays linear.
            attn_mask: (T, S), or (B·N, T, S) for each sequence and head its own; as the other.
            average_attn_weights: Whether the weights returned are the mean over the heads.
            is_causal: Says that attn_mask is the causal mask, which then need not be read. If it is
                another one, the causal mask may stand in for it, as in torch.

        Returns:
            y, of the shape of the query; and the weights after dropout, (B, T, S), or (B, N, T, S)
            if not averaged, without B for one sequence alone, with S grown by the keys that the
            layer brings along. None unless needed.

        Raises:
            TypeError: If something is no tensor.
            AssertionError, RuntimeError: If something does not fit, of torch's kind; the message
                names what came and what was expected.
        """
        sizes = check_inputs(self, query, key, value)
        is_batched, weight = query.dim() == 3, self.out_proj.weight
        check_masks(attn_mask, key_padding_mask, sizes=sizes, is_batched=is_batched, weight=weight)
        if is_causal and attn_mask is None:
            raise RuntimeError("is_causal=True needs attn_mask: it says that it is the causal mask")
        q, k, v = (self._in_heads(part) for part in self._projected(query, key, value))
        with disable_autocast(query.device):
            k, v = self._with_own_keys(k, v)
            own_keys = k.shape[2] - sizes.keys
            # What the causal mask of as many queries as keys hides, the blocks leave out unread.
            is_square = own_keys == 0 and sizes.queries == sizes.keys
            if is_causal and key_padding_mask is None and not need_weights and is_square:
                sight = AttentionMask(context=sizes.queries)
            else:
                both = (attn_mask, key_padding_mask)
                sight = AttentionMask(
                    bias=as_bias(*both, sizes=sizes, own_keys=own_keys, dtype=q.dtype)
                )
            y, weights = self._attended(q, k, v, sight, need_weights=need_weights)
        y = self.out_proj(y.transpose(1, 2).flatten(2))  # (B, T, E)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not is_batched:
            return y.squeeze(0), None if weights is None else weights.squeeze(0)
        return y if self.batch_first else y.transpose(0, 1), weights

    def merge_masks(
        self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, query: Tensor
    ) -> tuple[Tensor | None, int | None]:
        """Return both masks as one, and its kind; torch.nn.TransformerEncoderLayer asks for it.

        Args:
            attn_mask: (T, T) or (B·N, T, T), of floating point, or None.
            key_padding_mask: (B, T), of floating point, or None.
            query: (B, T, E).

        Returns:
            None and None without masks; the mask of the keys and 1 where it is alone; (B, N, T, T)
            and 2 otherwise.
        """
        if attn_mask is None:
            return key_padding_mask, None if key_padding_mask is None else 1
        sizes = Sizes(query.shape[0], self.num_heads, query.shape[1], query.shape[1])
        merged = as_bias(
            attn_mask, key_padding_mask, sizes=sizes, own_keys=0, dtype=attn_mask.dtype
        )
        return None if merged is None else merged.expand(sizes), 2

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values of E features each, in the form of the inputs."""
        if query is key and key is value and self.in_proj_weight is not None:
            return F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        if self.in_proj_weight is None:
            weights = [getattr(self, f"{name}_proj_weight") for name in "qkv"]
        else:
            weights = list(self.in_proj_weight.chunk(3))
        biases = [None] * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        inputs = (query, key, value)
        return tuple(F.linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True))

    def _in_heads(self, x: Tensor) -> Tensor:
        """Return x, of the form of the inputs, as (B, N, T, K)."""
        x = x.unsqueeze(0) if x.dim() == 2 else x if self.batch_first else x.transpose(0, 1)
        # In one piece: else every block of it would be copied for its product.
        heads = x.reshape(*x.shape[:2], self.num_heads, self.head_dim)
        return heads.transpose(1, 2).contiguous()

    def _with_own_keys(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values (B, N, S, K) with those that the layer brings along after them."""
        if self.bias_k is not None and self.bias_v is not None:
            k, v = (
                torch.cat([x, self._in_heads(own).to(x.dtype).expand(len(x), -1, -1, -1)], dim=2)
                for x, own in ((k, self.bias_k), (v, self.bias_v))
            )
        return (F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))) if self.add_zero_attn else (k, v)

    def _attended(
        self, q: Tensor, k: Tensor, v: Tensor, sight: AttentionMask, *, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return y (B, N, T, K) and the weights (B, N, T, S), or None for them if not needed."""
        dropout = self.dropout if self.training else 0.0
        if dropout == 0 and not need_weights:
            return attend(q, k, v, sight, backend=self.backend), None
        keep = None
        if dropout > 0:  # drawn as torch draws them; half precision would round 1/(1 - p)
            dtype = torch.promote_types(q.dtype, torch.float32)
            keep = F.dropout(q.new_ones((*q.shape[:3], k.shape[2]), dtype=dtype), dropout)
        y, weights = attention_with_weights(q, k, v, sight, keep, backend=self.backend)
        return y, weights if need_weights else None
