"""A Carousel in few lines, for the tests of tools/before_after.py; FAULT is planted in it."""

import json
from pathlib import Path
from types import SimpleNamespace

FAULT = ""


def load_model(run: str) -> SimpleNamespace:
    import torch  # late: the server needs none

    values = read_run(run)["weights"]
    return SimpleNamespace(model=torch.nn.ParameterList([torch.tensor(values)]))


def read_run(run: str) -> dict:
    if run.endswith("story"):
        return {"weights": [1.0, 2.0], "step": 9}
    state = json.loads((Path(run) / "state.json").read_text())
    if "load" in FAULT and "format" not in state:
        raise ValueError("state.json has no format")
    return state
