"""`carousel sample`: a trained model continues a prompt."""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from carousel.cli.parse import parse
from carousel.cli.runs import find_run
from carousel.cli.typed_text import best_normal_form, check_stops, note_escapes, unescape
from carousel.data.plain_text import decode_utf8
from carousel.data.reading import normalise_newlines
from carousel.data.vocabulary import OnUnknown, Vocabulary
from carousel.errors import TextError, UsageError
from carousel.generation.config import DEFAULT_SAMPLING, Precision, SamplingConfig
from carousel.input_files import PROMPT_LIMIT, read_input, read_stream
from carousel.limits import check_integer


@dataclass(frozen=True, kw_only=True)
class Sample:
    r"""Continue a prompt with a trained model; prompt and text go to stdout as they come.

    With several samples a line such as "=== sample 2 of 3 ===" stands before each. The same
    command prints the same text; another --seed, another one. In --prompt and --stop \n is a line
    feed, \t a tab and \\ a backslash; a prompt file is taken as it is. A terminal shows
    characters that it would obey or hide as escapes such as \x1b; a pipe or file gets them.

    Attributes:
        run: Run folder, or one checkpoint of it; or story, which ships. Default: the newest run in
            ./runs, and story where there is none.
        prompt: The text to continue, such as "It was so.\nThen"; without one, a line is begun.
        prompt_file: Read the prompt from this file, its last line feed included (- for stdin).
        on_unknown: What to do with characters of the prompt that the model does not know: error
            names the first, skip leaves them out, replace puts the first of U+FFFD, ? and space
            that the model knows. The prompt is printed as the model was given it.
        length: Characters to write, the prompt not counted. Default: 500, or as many as the model
            has positions for.
        num_samples: Texts to write.
        stop: End a text before this string, such as "\n", should it come up; may be given several
            times.
        precision: Of the products: bf16 is faster, where the processor multiplies it natively;
            float32 gives the same text on others, too.
        sampling: How the next character is drawn.
    """

    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]")] = None
    prompt: str = ""
    prompt_file: Path | None = None
    on_unknown: OnUnknown = "error"
    length: int | None = None
    num_samples: int = 1
    stop: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    precision: Precision = "bf16"
    sampling: SamplingConfig = field(default_factory=lambda: DEFAULT_SAMPLING)

    def __post_init__(self) -> None:
        """Check the arguments before a model is loaded."""
        if self.prompt and self.prompt_file is not None:
            raise UsageError("give --prompt or --prompt-file, not both")
        if self.length is not None:
            check_integer("length", self.length, at_least=1)
        check_integer("num_samples", self.num_samples, at_least=1)
        if "" in self.stop:
            raise UsageError("--stop needs at least one character")


def main(arguments: list[str]) -> int:
    """Print the samples and return the exit code."""
    typed = parse(Sample, arguments, prog="carousel sample")
    request = replace(
        typed,
        prompt=unescape(typed.prompt, "--prompt"),
        stop=tuple(unescape(stop, "--stop") for stop in typed.stop),
    )
    prompt = _read_prompt(request)
    run = find_run(request.run)

    import torch  # late: --help answers at once

    from carousel.generation.generate import LENGTH, continue_text
    from carousel.models.checkpoint import load_model

    torch.set_num_threads(1)  # the fastest for one character at a time
    model = load_model(run)
    for flag, words in (("--prompt", typed.prompt), *(("--stop", stop) for stop in typed.stop)):
        note_escapes(words, flag, model.vocabulary.stoi)
    prompt = _known(_in_normal_form(prompt, model.vocabulary), model.vocabulary, request.on_unknown)
    stop = check_stops(request.stop, model.vocabulary, request.length or LENGTH)
    for sample in range(request.num_samples):
        text = continue_text(
            model.model,
            model.vocabulary,
            prompt,
            request.sampling,
            length=request.length,
            stop=stop,
            sample=sample,
            precision=request.precision,
        )
        if request.num_samples > 1:
            _write(f"=== sample {sample + 1} of {request.num_samples} ===\n")
        _write(prompt)
        end = prompt
        for piece in text:
            _write(piece)
            end = piece
        if not end.endswith("\n"):
            _write("\n")
    return 0


def _read_prompt(request: Sample) -> str:
    """Return the prompt; a file is read as a corpus is, as UTF-8, each line ending as LF.

    Raises:
        TextError: If it is not UTF-8, or certainly something else.
    """
    match request.prompt_file:
        case None:
            return request.prompt
        case Path(name="-"):
            source, data = "stdin", read_stream(sys.stdin.buffer, PROMPT_LIMIT, "stdin")
        case path:
            source, data = str(path), read_input(path, PROMPT_LIMIT)
    return "".join(normalise_newlines([decode_utf8(data, source)]))


def _in_normal_form(prompt: str, vocabulary: Vocabulary) -> str:
    """Return the prompt in the normal form that the model knows, and say so if it is another."""
    result = best_normal_form(prompt, vocabulary.stoi)
    if result != prompt:
        how = "composed (NFC)" if len(result) < len(prompt) else "decomposed (NFD)"
        print(
            f"carousel sample: accents of the prompt are {how}, as the model has them",
            file=sys.stderr,
        )
    return result


def _known(prompt: str, vocabulary: Vocabulary, on_unknown: OnUnknown) -> str:
    """Return the prompt as the model is given it, and say on stderr what was altered.

    Raises:
        TextError: If there are unknown characters and that is an error, or they are to be replaced
            and the model knows no replacement.
    """
    unknown = [character for character in prompt if character not in vocabulary.stoi]
    if not unknown:
        return prompt
    try:
        known = vocabulary.decode(vocabulary.encode(prompt, on_unknown=on_unknown))
    except TextError as error:
        help = "; --on-unknown skip or replace would take it" if on_unknown == "error" else ""
        raise TextError(f"prompt: {error}{help}") from None
    distinct = dict.fromkeys(unknown)
    shown = ", ".join(map(repr, list(distinct)[:10])) + (", …" if len(distinct) > 10 else "")
    count = f"{len(unknown)} unknown character" + ("s" if len(unknown) > 1 else "")
    done = "left out of" if on_unknown == "skip" else "replaced in"
    print(
        f"carousel sample: {count} {done} the prompt: {shown}",
        file=sys.stderr,
    )
    return known


def _write(text: str) -> None:
    """Write to stdout at once."""
    sys.stdout.write(text)
    sys.stdout.flush()
