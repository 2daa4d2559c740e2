"""Group 8: the transformer's attention. The op is right; what it is given and keeps is not."""

from fault import Fault

KEPT = "new = self._last(k, v, past, x.shape[1])\n"
ALONE = "with disable_autocast(x.device):\n"
TURNED = "    if self.is_rotary:\n        q, k = self._turned(q, k)\n"
ATTENDED = "    y = attend(q, k, v, _)\n"

FAULTS = [
    Fault(
        title="Keys are turned, and queries are not",
        seen_in="classic",
        why="Places show, though not distances: a text that begins elsewhere is another text.",
        module="transformer",
        function="CausalSelfAttention._turned",
        was="rotate(q, cos[new], sin[new]), rotate(k, cos, sin)",
        becomes="q, rotate(k, cos, sin)",
        case="CausalSelfAttention",
        seen_by="definition streaming",
    ),
    Fault(
        title="The places of the queries begin anew with each piece",
        seen_in="RobertCsordas/moeut#6",
        why="Training reads whole windows; only text sampled step by step goes wrong.",
        module="transformer",
        function="CausalSelfAttention._turned",
        was="new = slice(-q.shape[2], None)",
        becomes="new = slice(None, q.shape[2])",
        case="CausalSelfAttention",
        seen_by="streaming",
    ),
    Fault(
        title="Keys from the cache are turned again",
        seen_in="a review of NeuraLegion/shainet#110 finds it",
        why="Training has no cache; of a short text the angles are small.",
        module="transformer",
        function="CausalSelfAttention.forward",
        was=KEPT + ALONE + TURNED + ATTENDED,
        becomes=ALONE + TURNED + "    " + KEPT + ATTENDED,
        case="CausalSelfAttention",
        seen_by="streaming",
    ),
    Fault(
        title="The cache forgets how much of it was written before",
        seen_in="classic",
        why="Training has no cache; sampled text has a memory of one piece.",
        module="transformer",
        function="CausalSelfAttention._last",
        was="(filled + steps)",
        becomes="(0 * filled + steps)",
        case="CausalSelfAttention",
        seen_by="streaming",
    ),
    Fault(
        title="Heads are joined by a reshape, not a transpose",
        seen_in="classic",
        why="Every shape agrees; each position gets bits of all, of the future too.",
        module="transformer",
        function="CausalSelfAttention.forward",
        was="y.transpose(1, 2).flatten(2)",
        becomes="y.reshape(x.shape)",
        given="heads = self.in_proj(x).unflatten(-1, _)",
        case="CausalSelfAttention",
        seen_by="definition streaming causality",
    ),
]
