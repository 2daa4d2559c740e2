"""The catalog of planted faults, and the page that shows it.

`python tests/mutation/catalog.py` writes the page, README.md beside this file.
"""

import re
import sys
from pathlib import Path
from types import ModuleType

sys.path.append(str(Path(__file__).parents[1]))  # as pytest does

from fault import Fault
from suites import SUITES, Suite, faults_of

PAGE = Path(__file__).with_name("README.md")
OPENING = """\
# Planted faults

Faults of recurrent code, of attention and of what stands around them, each planted in ours by a
test, which fails if one goes unseen. Many occurred in public code: a network with a wrong gradient,
or without a memory, still learns. Where a thread is named, what is planted is what is described
there, in our words and our code. The groups are [memory](faults_memory.py),
[gates](faults_gates.py), [gradients](faults_gradients.py), [layers](faults_layers.py),
[attention](faults_attention.py),
[its reverse and its blocks](faults_blocks.py), [the fixed window](faults_window.py) and
[the transformer](faults_transformer.py); there stand the very lines.

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

Beside these, [`mutations.py`](mutations.py) makes every slip of one token in a hand-written
backward pass, and [`mutation_runner.py`](mutation_runner.py) runs it: an operator for another, a
number one up or down, a variable for another, a factor or a statement left out, a transpose
forgotten, arguments exchanged, = for +=; more than 9000. Those that survive say the same, and
stand, with the reason, in [`equivalents.py`](equivalents.py).
"""


def page() -> str:
    """Return the page in Markdown."""
    groups = [
        "\n".join([f"## {heading(group)}", "", *table(suite, group)])
        for suite in SUITES
        for group in suite.groups
    ]
    count = f"{sum(len(faults_of(suite)) for suite in SUITES)} faults."
    return "\n\n".join([OPENING.rstrip(), count, *groups, MUTANTS])


def heading(group: ModuleType) -> str:
    return (group.__doc__ or "").splitlines()[0].rstrip(".")


def table(suite: Suite, group: ModuleType) -> list[str]:
    head = f"| fault | where | why training seems to work | in | {' | '.join(suite.checks)} |"
    rule = "|---" * (4 + len(suite.checks)) + "|"
    return [head, rule, *(row(suite, fault) for fault in group.FAULTS)]


def row(suite: Suite, fault: Fault) -> str:
    seers, asked = fault.seen_by.split(), suite.asked(fault)
    marks = ["●" if c in seers else "·" if c in asked else " " for c in suite.checks]
    cells = [fault.title, linked(fault.seen_in), fault.why, f"`{fault.case}`", *marks]
    return f"| {' | '.join(cells)} |"


def linked(where: str) -> str:
    """Turn owner/name#1 into a link to the thread."""
    return re.sub(
        r"([\w.-]+/[\w.-]+)#(\d+)", r"[\g<0>](https://github.com/\g<1>/issues/\g<2>)", where
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
