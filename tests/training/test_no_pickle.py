"""No pickle is ever read: proven by the interpreter's own audit events, in a fresh process."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import pickle, sys
from pathlib import Path

events = []
sys.addaudithook(lambda event, arguments: events.append(event) if "pickle" in event else None)
pickle.loads(pickle.dumps(Path))  # a class: the hook must see this one
assert events == ["pickle.find_class"], events
events.clear()

from training.small_runs import VALIDATION, VOCABULARY, open_run, settings
from carousel.models.checkpoint import load_model
from carousel.models.evaluation import evaluate
from carousel.generation.config import SamplingConfig
from carousel.generation.generate import continue_text
from carousel.inspection.curves import loss_curve
from carousel.training.run_folder import read_metrics

run = Path(sys.argv[1])
open_run(run, settings(), stop=lambda trainer: trainer.step == 9).events()
resumed = open_run(run, settings())
assert resumed.trainer.step == 9
resumed.events()
loaded = load_model(run)
evaluate(loaded.model, VALIDATION)
config = SamplingConfig(repetition_penalty=1.2, top_k=5)
text = "".join(continue_text(loaded.model, VOCABULARY, "the king", config, length=20))
assert len(text) == 20
loss_curve(read_metrics(run), run / "loss", floor=None)
assert events == [], events
print("none")
"""


def test_pickle_find_class_never_fires(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "run")],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("none\n", 0), done.stderr
