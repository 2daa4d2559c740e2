"""`carousel serve`: the story-teller in the browser."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from carousel.cli.console import console
from carousel.cli.parse import parse
from carousel.cli.runs import find_run


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Open the story-teller: a page on which a trained model continues your prompts.

    Attributes:
        run: Run folder, or one checkpoint of it. None: the newest run in ./runs.
        host: Address to listen at; 127.0.0.1 is reached from this machine only.
        port: TCP port; 0 takes a free one.
    """

    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]")] = None
    host: str = "127.0.0.1"
    port: int = 5000


def main(arguments: list[str]) -> int:
    """Serve until interrupted and return the exit code."""
    request = parse(Serve, arguments, prog="carousel serve")
    run = find_run(request.run)

    import torch  # late: --help answers at once

    from carousel.models.checkpoint import load_model
    from carousel.serving.app import create_app
    from carousel.serving.server import bind

    torch.set_num_threads(1)  # each text has a thread of its own
    model = load_model(run)
    app = create_app(model.model, model.vocabulary, name=run.resolve().name)
    server = bind(app, request.host, request.port)
    host = f"[{request.host}]" if ":" in request.host else request.host
    console.print(
        f"{run} tells stories at http://{host}:{server.effective_port}/ (Ctrl-C ends it)",
        markup=False,
    )
    server.run()
    return 0
