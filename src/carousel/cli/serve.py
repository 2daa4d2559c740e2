"""`carousel serve`: trained models behind an HTTP API, and the story-teller in the browser."""

import logging
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from carousel.cli.console import can_redraw, console
from carousel.cli.parse import parse
from carousel.cli.runs import find_run, shown
from carousel.cli.terminal import VisibleFormatter
from carousel.data.plain_text import decode_utf8
from carousel.errors import ConfigError, UsageError
from carousel.generation.config import Precision
from carousel.input_files import TOKEN_LIMIT, read_input
from carousel.limits import check_integer
from carousel.plain_paths import readable
from carousel.server.hosts import check_names, is_loopback
from carousel.server.origin import ANY, check_origins

if TYPE_CHECKING:
    from carousel.server.supervised_worker import SupervisedWorker

TOKEN = "CAROUSEL_TOKEN"


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Open the story-teller: a page, and an API, where trained models continue your prompts.

    The API is that of OpenAI's completions, at /v1; /openapi.json describes it. Each model has a
    process of its own, and the name of its run folder. Ctrl-C or SIGTERM lets the texts that are
    being written end, for 8 seconds at most; a second one ends them at once.

    Attributes:
        run: Run folders, or one checkpoint of each; story is the model that ships. Default: the
            newest run in ./runs, and story where there is none.
        host: Address to listen at; 127.0.0.1 is reached from this machine only.
        port: TCP port; 0 takes a free one.
        token_file: Serve only who sends the token in this file ("Authorization: Bearer …").
            Default: the token in the environment variable CAROUSEL_TOKEN, if there is one.
        characters_per_minute: Characters that one client (a token, else an address) may have
            written in a minute. Default: as many as it likes.
        max_streams: Texts of one model that are written at the same time; who comes then is asked
            to try again.
        precision: Of the products, where the processor has it: float32 or bf16.
        log_prompts: Write prompts to the log, too, which holds a line for each request.
        cors_origin: Let web pages of this origin, such as http://localhost:3000, use the API from
            a browser (CORS); may be given several times. Pages of other origins are refused. '*'
            allows every page that anybody who reaches the server opens: with a token only those
            that send it, without a token all of them.
        allowed_host: Answer requests whose Host header names this host, such as
            models.example.org, too; may be given several times. Without it a server on a loopback
            address answers to localhost, 127.0.0.1 and [::1] alone (against DNS rebinding). On
            another address it answers to IP addresses and the name in --host; with a token, until
            a host is listed, to every name. '*' allows every name.
    """

    run: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[RUN …]")] = ()
    host: str = "127.0.0.1"
    port: int = 5000
    token_file: Path | None = None
    characters_per_minute: int | None = None
    max_streams: int = 64
    precision: Precision = "float32"
    log_prompts: bool = False
    cors_origin: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    allowed_host: tyro.conf.UseAppendAction[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Check the arguments before a model is loaded."""
        check_integer("port", self.port, at_least=0, at_most=65535)
        check_integer("max_streams", self.max_streams, at_least=1, at_most=1024)
        if self.characters_per_minute is not None:
            check_integer("characters_per_minute", self.characters_per_minute, at_least=1)
        try:
            check_origins(self.cors_origin)
        except ConfigError as error:
            raise UsageError(f"--cors-origin: {error}") from None
        try:
            check_names(self.allowed_host)
        except ConfigError as error:
            raise UsageError(f"--allowed-host: {error}") from None


def main(arguments: list[str]) -> int:
    """Serve until SIGINT or SIGTERM and return the exit code."""
    request = parse(Serve, arguments, prog="carousel serve")
    runs = [find_run(run) for run in request.run or (None,)]
    names = _names(runs)
    token = _token(request.token_file)

    from carousel.server.app import create_app  # late: --help answers at once
    from carousel.server.http_server import bind
    from carousel.server.supervised_worker import start_supervised_worker
    from carousel.server.threads import share_one_heap

    _log_to_stderr()
    share_one_heap()
    engines = [
        start_supervised_worker(
            run, name, precision=request.precision, max_streams=request.max_streams
        )
        for run, name in zip(runs, names, strict=True)
    ]
    try:
        with console.status("loading …") if can_redraw(console) else nullcontext():
            for engine in engines:
                engine.wait()
        app = create_app(
            engines,
            token=token,
            characters_per_minute=request.characters_per_minute,
            log_prompts=request.log_prompts,
            cors_origins=request.cors_origin,
            host=request.host,
            allowed_hosts=request.allowed_host,
        )
        streams = request.max_streams * len(engines)
        server = bind(app, request.host, request.port, streams=streams)
        with _stopping(server.stop):
            _announce(runs, request.host, server.port, has_token=token is not None)
            _announce_origins(request.cors_origin, has_token=token is not None)
            server.run(end_texts=lambda: _close(engines))
    finally:
        _close(engines)
    return 0


def _close(engines: "Sequence[SupervisedWorker]") -> None:
    for engine in engines:
        engine.close()


def _names(runs: Sequence[Path]) -> list[str]:
    """Return what the models are called: their folders' names.

    Raises:
        UsageError: If two would be called the same: a request could not tell them apart.
    """
    names = [readable(run.resolve().name) for run in runs]
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        same = " and ".join(str(run) for run in runs if readable(run.resolve().name) == name)
        raise UsageError(
            f"{same} would both be called {name}: a copy or link of another name helps"
        )
    return names


def _token(file: Path | None) -> str | None:
    """Return the token that clients must send, if one is asked for.

    Raises:
        UsageError: If it could not stand in a header, or anybody could guess it.
    """
    source = f"${TOKEN}" if file is None else str(file)
    token = os.environ.get(TOKEN) if file is None else _read(file)
    if token is None:
        return None
    if len(token) < 8 or not all("!" <= character <= "~" for character in token):
        raise UsageError(f"{source}: a token has at least 8 characters of ASCII, and no space")
    return token


def _read(file: Path) -> str:
    return decode_utf8(read_input(file, TOKEN_LIMIT), str(file)).strip()


def _announce(runs: Sequence[Path], host: str, port: int, *, has_token: bool) -> None:
    """Print the server's address, and who can reach it."""
    models = ", ".join(map(shown, runs))
    url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
    is_local = is_loopback(host)
    reach = "this machine alone can reach it" if is_local else "other machines can reach it"
    console.print_line(f"{models} at {url} ({reach}; Ctrl-C ends it)")
    if not (is_local or has_token):
        console.print_line(
            f"warning: whoever reaches {host} can use it; --token-file or {TOKEN} asks for a token",
            style="yellow",
        )


def _announce_origins(origins: Sequence[str], *, has_token: bool) -> None:
    """Print which origins may use the server, and warn if all of them may."""
    if ANY not in origins:
        if origins:
            pages = ", ".join(dict.fromkeys(origins))
            console.print_line(f"web pages of {pages} may use it")
    elif has_token:
        console.print_line("every web page that sends the token may use it")
    else:
        console.print_line(
            f"warning: --cors-origin '{ANY}' lets every web page that your browser opens use it; "
            f"--token-file or {TOKEN} asks for a token",
            style="yellow",
        )


@contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at SIGINT and SIGTERM."""
    before = {
        number: signal.signal(number, lambda *_: stop())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _log_to_stderr() -> None:
    """Log a line for each request and each worker that is replaced."""
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("{asctime} {message}", "%Y-%m-%dT%H:%M:%S", style="{"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("carousel.server").setLevel(logging.INFO)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # requests may wait for a thread
