"""The bug museum: all rooms, and the page that shows them.

`python tests/bugs/museum.py` writes the page, README.md beside this file.
"""

import re
from pathlib import Path
from types import ModuleType

import room_gates
import room_gradients
import room_layers
import room_memory
from exhibits import Exhibit

OF_OPS = (room_memory, room_gates, room_gradients)
ROOMS = (*OF_OPS, room_layers)
PAGE = Path(__file__).with_name("README.md")
CHECKS = ("torch", "definition", "autograd", "differences", "streaming", "causality")
LAYER_CHECKS = ("torch", "packed", "streaming", "dropouts", "zoneout")
OPENING = """\
# The bug museum

Faults of recurrent code, each planted in ours by a test, which fails if one goes unseen. Many
occurred in public code: a network with a wrong gradient, or without a memory, still learns. Where a
thread is named, what is planted is what is described there, in our words and our code. The rooms
are [memory](room_memory.py), [gates](room_gates.py), [gradients](room_gradients.py) and
[layers](room_layers.py); there stand the very lines.

Who sees a fault (● sees it, · does not, blank: does not look) are the checks of
[`recurrence_checks.py`](../recurrence_checks.py): `torch`, the namesake in torch.nn, where there is
one; `definition`, the paper's equations written gate by gate; `autograd`, our loop differentiated
by torch; `differences`, finite differences of our reverse; `streaming`, one long call against many
short ones; `causality`, what depends on what. The layers around the ops have checks of their own,
[`layer_checks.py`](layer_checks.py): `torch` and `streaming` again; `packed`, torch.nn on sequences
of unequal length; `dropouts` and `zoneout`, what is drawn while training and what is not.

No check sees all. A wrong equation together with the reverse of that wrong equation passes
`autograd` and `differences`, and a loop that forgets its cell at every step obeys the streaming
law. Therefore `torch` or `definition` must see each fault of an op, whoever else does.
"""
MUTANTS = """\
## Mutants

Beside these, every slip of one token in a hand-written reverse is made by
[`mutations.py`](mutations.py) and hunted by [`hunting.py`](hunting.py): an operator for another, a
number one up or down, a variable for another, a factor or a statement left out, a transpose
forgotten, arguments exchanged; more than 7000. Those that survive say the same, and stand, with the
reason, in [`equivalents.py`](equivalents.py).
"""


def page() -> str:
    """Return the page in Markdown."""
    rooms = ["\n".join([f"## {heading(room)}", "", *table(room)]) for room in ROOMS]
    count = f"{sum(len(room.ROOM) for room in ROOMS)} exhibits."
    return "\n\n".join([OPENING.rstrip(), count, *rooms, MUTANTS])


def heading(room: ModuleType) -> str:
    return (room.__doc__ or "").splitlines()[0].rstrip(".")


def table(room: ModuleType) -> list[str]:
    checks = CHECKS if room in OF_OPS else LAYER_CHECKS
    head = f"| fault | where | why training seems to work | in | {' | '.join(checks)} |"
    rule = "|---" * (4 + len(checks)) + "|"
    return [head, rule, *(row(exhibit, checks) for exhibit in room.ROOM)]


def row(exhibit: Exhibit, checks: tuple[str, ...]) -> str:
    seers = exhibit.seen_by.split()
    unasked = "torch" if checks is CHECKS else ""  # it has no such layer, or no masks
    marks = ["●" if c in seers else " " if c == unasked else "·" for c in checks]
    cells = [exhibit.title, linked(exhibit.seen_in), exhibit.why, f"`{exhibit.case}`", *marks]
    return f"| {' | '.join(cells)} |"


def linked(where: str) -> str:
    """Turn owner/name#1 into a link to the thread."""
    return re.sub(
        r"([\w.-]+/[\w.-]+)#(\d+)", r"[\g<0>](https://github.com/\g<1>/issues/\g<2>)", where
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
