"""Figures of docs/; drawn by math/draw.py.

The losses of the demo stand in demo.json. They were measured in float32, on one thread of an Intel
Xeon at 2.8 GHz (Ice Lake), with torch 2.13.0. To replace them by those of another run:

    carousel train --preset demo --steps 2211 --time-limit 1200 --out runs/demo
    python docs/figures.py runs/demo
    python math/draw.py docs
"""

import json
import subprocess
import sys
from pathlib import Path

from matplotlib.axes import Axes

from carousel.inspection.curves import draw_losses

LOSSES = Path(__file__).with_name("demo.json")


def demo(axes: Axes) -> None:
    """Training and validation loss of the demo, above the entropy of the tales."""
    stored = json.loads(LOSSES.read_bytes())
    training = [{"step": k, "loss": loss} for k, loss in enumerate(stored["training"], 1)]
    validation = [{"step": k, "validation_loss": loss} for k, loss in stored["validation"]]
    draw_losses(axes, [*training, *validation], floor=stored["floor"])


def store(run: Path) -> None:
    """Write the losses of a run of the demo to demo.json, rounded to four decimals."""
    lines = (run / "metrics.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    evaluation = subprocess.run(
        ["carousel", "eval", str(run), "--part", "validation", "--lanes", "64", "--json"],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    stored = {
        "floor": round(json.loads(evaluation)["best_possible_nats_per_character"], 4),
        "validation": [
            (r["step"], round(r["validation_loss"], 4)) for r in records if "validation_loss" in r
        ],
        "training": [round(r["loss"], 4) for r in records if "loss" in r],
    }
    rows = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in stored.items())
    LOSSES.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


FIGURES = {"demo": (demo, (7.2, 3.4))}

if __name__ == "__main__":
    store(Path(sys.argv[1]))
