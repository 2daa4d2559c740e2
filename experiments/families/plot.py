"""Draw what run.py measured: validation loss against the time of one core.

python experiments/families/plot.py
"""

import json
from pathlib import Path

from carousel.inspection.figures import BLUE, GREEN, INK, ORANGE, drawn

HERE = Path(__file__).parent
COLOURS = {
    "mlp": INK,
    "rnn": "#b07cc6",
    "gru": GREEN,
    "lstm": BLUE,
    "transformer": ORANGE,
}


def main() -> None:
    """Draw a figure for each text, beside this file."""
    for path in sorted((HERE / "results").glob("*.json")):
        found = json.loads(path.read_text())
        with drawn(HERE / path.stem) as axes:
            for name, figures in found.items():
                curve = figures["curve"]
                seconds, losses = ([point[key] for point in curve] for key in ("seconds", "loss"))
                axes.plot(seconds, losses, "o-", color=COLOURS[name], markersize=3, label=name)
            floor = found["lstm"]["floor"]
            if floor is not None:
                axes.axhline(floor, color=INK, linestyle="--", label=f"best possible: {floor:.3f}")
            axes.set(xlabel="seconds of one core", ylabel="validation, nats per character")
            axes.legend(frameon=False)


if __name__ == "__main__":
    main()
