"""The bug museum: all rooms, and the page that shows them.

`python tests/bugs/museum.py` writes the page, README.md beside this file.
"""

import re
import sys
from pathlib import Path
from types import ModuleType

sys.path.append(str(Path(__file__).parents[1]))  # as pytest does

from exhibits import Exhibit
from wings import WINGS, Wing, exhibits_of

PAGE = Path(__file__).with_name("README.md")
OPENING = """\
# The bug museum

Faults of recurrent code, of attention and of what stands around them, each planted in ours by a
test, which fails if one goes unseen. Many occurred in public code: a network with a wrong gradient,
or without a memory, still learns. Where a thread is named, what is planted is what is described
there, in our words and our code. The rooms are [memory](room_memory.py), [gates](room_gates.py),
[gradients](room_gradients.py), [layers](room_layers.py), [attention](room_attention.py),
[its reverse and its blocks](room_blocks.py), [the fixed window](room_window.py) and
[the transformer](room_transformer.py); there stand the very lines.

Who sees a fault (● sees it, · does not, blank: does not look) are the checks of
[`op_checks.py`](../op_checks.py): `torch`, the namesake in torch.nn, where there is
one; `definition`, the paper's equations written gate by gate; `autograd`, our loop differentiated
by torch; `differences`, finite differences of our reverse; `streaming`, one long call against many
short ones; `causality`, what depends on what. The layers around the ops have checks of their own,
[`layer_checks.py`](layer_checks.py): `torch` and `streaming` again; `packed`, torch.nn on sequences
of unequal length; `dropouts` and `zoneout`, what is drawn while training and what is not. Those of
attention and the fixed window are the six of recurrence, and `blocks`, attention block by block
against attention at once; those of the transformer, [`block_checks.py`](block_checks.py), look at
its cache as well.

No check sees all. A wrong equation together with the reverse of that wrong equation passes
`autograd` and `differences`, and a loop that forgets its cell at every step obeys the streaming
law; so does a window of one position too many, if the cache holds as much, and where two forms
share the code that says who sees whom, `blocks` finds them equally wrong. Therefore `torch` or
`definition` must see each fault of an op, whoever else does.
"""
MUTANTS = """\
## Mutants

Beside these, every slip of one token in a hand-written reverse is made by
[`mutations.py`](mutations.py) and hunted by [`hunting.py`](hunting.py): an operator for another, a
number one up or down, a variable for another, a factor or a statement left out, a transpose
forgotten, arguments exchanged, = for +=; more than 9000. Those that survive say the same, and
stand, with the reason, in [`equivalents.py`](equivalents.py).
"""


def page() -> str:
    """Return the page in Markdown."""
    rooms = [
        "\n".join([f"## {heading(room)}", "", *table(wing, room)])
        for wing in WINGS
        for room in wing.rooms
    ]
    count = f"{sum(len(exhibits_of(wing)) for wing in WINGS)} exhibits."
    return "\n\n".join([OPENING.rstrip(), count, *rooms, MUTANTS])


def heading(room: ModuleType) -> str:
    return (room.__doc__ or "").splitlines()[0].rstrip(".")


def table(wing: Wing, room: ModuleType) -> list[str]:
    head = f"| fault | where | why training seems to work | in | {' | '.join(wing.checks)} |"
    rule = "|---" * (4 + len(wing.checks)) + "|"
    return [head, rule, *(row(wing, exhibit) for exhibit in room.ROOM)]


def row(wing: Wing, exhibit: Exhibit) -> str:
    seers, asked = exhibit.seen_by.split(), wing.asked(exhibit)
    marks = ["●" if c in seers else "·" if c in asked else " " for c in wing.checks]
    cells = [exhibit.title, linked(exhibit.seen_in), exhibit.why, f"`{exhibit.case}`", *marks]
    return f"| {' | '.join(cells)} |"


def linked(where: str) -> str:
    """Turn owner/name#1 into a link to the thread."""
    return re.sub(
        r"([\w.-]+/[\w.-]+)#(\d+)", r"[\g<0>](https://github.com/\g<1>/issues/\g<2>)", where
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
