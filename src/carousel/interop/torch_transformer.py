"""The transformer in modules and functions of torch.nn, for `to_torch`.

Shapes: B sequences, T new positions, S keys, D features, N heads of K = D/N features, C positions
that a query sees, its own included.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from carousel.errors import ConfigError
from carousel.models.families.transformer import TransformerConfig
from carousel.ops.positions import rotate, rotations, sinusoidal

State = tuple[Tensor, ...]


class TorchBlock(nn.Module):
    """nn.LayerNorm, attention of two nn.Linear around torch's own, and a feed-forward layer."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        features = config.embedding_size
        self.heads, self.context = config.num_heads, config.context
        self.is_rotary = config.positions == "rotary"
        self.attention_norm = nn.LayerNorm(features)
        self.attention = nn.ModuleDict(
            {
                "in_proj": nn.Linear(features, 3 * features),
                "out_proj": nn.Linear(features, features),
            }
        )
        self.feed_forward_norm = nn.LayerNorm(features)
        self.expand = nn.Linear(features, config.hidden_size)
        self.contract = nn.Linear(config.hidden_size, features)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return y (B, T, D), and keys and values (2, B, N, ≤ C, K) of the last C positions."""
        heads = self.attention["in_proj"](self.attention_norm(x))
        q, *new = heads.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        kv = torch.stack(new)  # (2, B, N, T, K)
        if past is not None:
            kv = torch.cat([past, kv], dim=3)
        y = self._attend(q, kv[0], kv[1]).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.attention["out_proj"](y))
        hidden = F.gelu(self.expand(self.feed_forward_norm(x)))
        return x + self.dropout(self.contract(hidden)), kv[:, :, :, -self.context :]

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return (B, N, T, K): each of the last T positions sees itself and C - 1 before it."""
        places = torch.arange(k.shape[2], device=k.device)
        own = places[-q.shape[2] :]
        if self.is_rotary:
            cos, sin = rotations(places, k.shape[3], k.dtype)
            q, k = rotate(q, cos[own], sin[own]), rotate(k, cos, sin)
        distance = own.unsqueeze(1) - places
        is_seen = (distance >= 0) & (distance < self.context)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=is_seen)


class TorchTransformer(nn.Module):
    """nn.Embedding, blocks, nn.LayerNorm, nn.Linear.

    The state is keys and values of each layer, (L, 2, B, N, ≤ C, K), and the positions read, ().
    All rows of a batch have read as many.
    """

    def __init__(self, config: TransformerConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(vocab_size, config.embedding_size)
        self.blocks = nn.ModuleList(TorchBlock(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.embedding_size)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.embedding_size, vocab_size)
        if config.positions == "learned":
            self.places = nn.Parameter(torch.empty(config.context, config.embedding_size))

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return logits (B, T, V) and the state after the last of the tokens (B, T).

        Raises:
            ConfigError: If the stream goes on where there are no more positions.
        """
        read = 0 if state is None else int(state[1])
        x = self.dropout(self._placed(self.embedding(tokens), read))
        caches = []
        for layer, block in enumerate(self.blocks):
            x, cache = block(x, None if state is None else state[0][layer])
            caches.append(cache)
        end = torch.tensor(read + tokens.shape[1], device=tokens.device)
        return self.output(self.norm(x)), (torch.stack(caches), end)

    def _placed(self, x: Tensor, read: int) -> Tensor:
        """Add what says where each position stands, where the attention does not."""
        longest = self.config.max_length
        if longest is None:
            return x
        if read + x.shape[1] > longest:
            raise ConfigError(f"{self.config.positions} positions end after {longest} characters")
        places = torch.arange(read, read + x.shape[1], device=x.device)
        if self.config.positions == "learned":
            return x + self.places[places]
        return x + sinusoidal(places, x.shape[-1], x.dtype)
