import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from carousel import FAULT, read_run


def train(arguments: list[str]) -> int:
    import torch  # late: the server needs none
    from torch.optim.optimizer import _global_optimizer_post_hooks as hooks

    out = Path(arguments[arguments.index("--out") + 1])
    out.mkdir(exist_ok=True)
    state = read_run(str(out)) if "--resume" in arguments else {"weights": [0.5, 0.25], "step": 0}
    p = torch.tensor(state["weights"])
    learning_rate = 0.2 if "train" in FAULT else 0.1
    signals: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: signals.append(number))
    lines = []
    for step in range(state["step"] + 1, 51):
        loss = (p - 1).square().sum()
        p -= learning_rate * 2 * (p - 1)
        for hook in hooks.values():
            hook(None, (), {})  # as an optimiser would; to build one takes seconds
        lines.append(json.dumps({"step": step, "loss": loss.item()}) + "\n")
        if signals:
            break
    signal.signal(signal.SIGINT, before)
    state = {"weights": p.tolist(), "step": step}
    (out / "state.json").write_text(json.dumps(state | ({"format": 3} if "load" in FAULT else {})))
    with (out / "metrics.jsonl").open("a") as file:
        file.writelines(lines)
    return 130 if signals else 0


def sample(arguments: list[str]) -> int:
    weights = read_run(arguments[0])["weights"]
    sys.stdout.write(f"{weights} {arguments[1:]}{' Ω' * ('sample' in FAULT)}\n")
    return 0


def evaluate(arguments: list[str]) -> int:
    loss = sum(read_run(arguments[0])["weights"]) + ("eval" in FAULT) * 1e-15
    sys.stdout.write(json.dumps({"nats_per_character": loss}))
    return 0


def tales(arguments: list[str]) -> int:
    if "--out" in arguments:
        Path(arguments[arguments.index("--out") + 1]).write_text("Once.")
    else:
        sys.stdout.write("Once upon a time.")
    return 0


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer({"data": [{"id": "small"}]})

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        request = json.loads(self.rfile.read(size))
        text = "other" if "serve" in FAULT else "a text"
        self.answer({"choices": [{"text": f"{text} {k}"} for k in range(request["n"])]})

    def answer(self, table: dict) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(table).encode())


def serve(arguments: list[str]) -> int:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    sys.stderr.write(f"listening at http://127.0.0.1:{server.server_port}/\n")
    sys.stderr.flush()
    server.serve_forever()
    return 0


def kernels(arguments: list[str]) -> int:
    return 0


COMMANDS = {
    "train": train, "sample": sample, "eval": evaluate, "tales": tales, "serve": serve,
    "kernels": kernels,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(COMMANDS[sys.argv[1]](sys.argv[2:]))
