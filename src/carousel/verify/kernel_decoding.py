"""The kernel that writes texts: against ops/ in double precision, alone and in company.

Each case is a model of one of the families in turn. Letters: L layers, of H units each, V tokens,
D features of each.
"""

import copy
import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import carousel
from carousel.generation.config import SamplingConfig
from carousel.generation.engine import Engine
from carousel.generation.kernel_runner import KernelRunner
from carousel.generation.request import Request
from carousel.kernels import decoding
from carousel.models.base import LanguageModel
from carousel.models.config import ModelConfig
from carousel.models.families import FAMILIES
from carousel.models.language_model import build
from carousel.ops.sampling import Settings, distribution, draw
from carousel.verify.check_result import CheckResult, distance, worst
from carousel.verify.kernels import BOUNDS, SENSIBLE, SMALL, Choice, poison
from carousel.verify.models import made
from carousel.verify.op_spec import Tensors

VARIANTS: list[dict[str, Any]] = [
    {"model": family.name, **settings}
    for family in FAMILIES.values()
    for settings in family.variants.values()
    if family.config(**settings).has_fused_kernel
]
TEXTS, PROMPT, LENGTH, ROWS = 3, 12, 8, 20
SHAPES: dict[torch.dtype, Choice] = {
    torch.float32: {**SMALL, "L": (1, 2, 3)},
    torch.bfloat16: {**SENSIBLE, "L": (1,)},  # the bound is of one layer's rounding
}


def against_op(compute_dtype: torch.dtype, seeds: range) -> CheckResult:
    """Return the largest relative difference of the log p of all tokens along a text.

    In single precision also of what the stages make of logits, and of the ids that are drawn.
    """
    figures = []
    for seed in seeds:
        model, prompts = drawn(seed, compute_dtype)
        double = copy.deepcopy(model).double()
        with torch.no_grad(), carousel.backend("bptt"):
            want = [double(prompt[None, :-1])[0][0].log_softmax(-1) for prompt in prompts]
        got = [told[0] for told in written(model, compute_dtype, reading(model, prompts))]
        figures.append(_distance(got, want, BOUNDS[compute_dtype], f"seed {seed}"))
        if compute_dtype == torch.float32:
            figures.append(_of_stages(seed))
    return worst(figures)


def streaming(seeds: range) -> CheckResult:
    """Return how far a text in company, a few characters at a time, is from the same one alone."""
    figures = []
    for seed in seeds:
        model, prompts = drawn(seed)
        requests = continuing(model, prompts, seed)
        alone = [written(model, torch.float32, [request])[0] for request in requests]
        together = written(model, torch.float32, requests, seconds=0.0)
        for got, want in zip(together, alone, strict=True):
            figures.append(_distance(got, want, 0.0, f"seed {seed}"))
    return worst(figures)


def causality(seeds: range) -> CheckResult:
    """Return the part of all log p that is not as it must be where one id is another.

    What is before that id, or of another text, stays to the bit; what is next to it changes.
    """
    figures = []
    for seed in seeds:
        model, prompts = drawn(seed)
        first = [told[0] for told in written(model, torch.float32, reading(model, prompts))]
        wrong = []
        for place in range(PROMPT - 1):
            changed = prompts.clone()
            changed[1, place] = (changed[1, place] + 1) % model.vocab_size
            then = [told[0] for told in written(model, torch.float32, reading(model, changed))]
            for text in range(TEXTS):
                differs = (then[text] != first[text]).any(-1)
                sees = (torch.arange(PROMPT - 1) >= place) & (text == 1)
                wrong.append(torch.where(sees, False, differs))
                if VARIANTS[seed % len(VARIANTS)].get("nonlinearity") != "relu":  # it may be dead
                    wrong.append((sees & ~differs)[place : place + 1])  # later, rounding hides it
        figures.append(CheckResult(torch.cat(wrong).double().mean().item(), 0.0, f"seed {seed}", 1))
    return worst(figures)


def unwritten(seeds: range) -> CheckResult:
    """Return how far a text is from itself where fresh memory holds no numbers at all."""
    figures = []
    for seed in seeds:
        model, prompts = drawn(seed)
        requests = continuing(model, prompts, seed)
        want = written(model, torch.float32, requests)
        with poison():
            got = written(model, torch.float32, requests)
        for one, other in zip(got, want, strict=True):
            figures.append(_distance(one, other, 0.0, f"seed {seed}"))
    return worst(figures)


def drawn(seed: int, compute_dtype: torch.dtype = torch.float32) -> tuple[LanguageModel, Tensor]:
    """Return a model, all of its parameters random, and prompts (TEXTS, PROMPT)."""
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    v, d, h, layers = (rng.choice(SHAPES[compute_dtype][letter]) for letter in "VDHL")
    config = ModelConfig(
        embedding_size=d,
        hidden_size=h,
        num_layers=layers,
        **VARIANTS[seed % len(VARIANTS)],
    )
    model = made(build(config, v), generator).float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("embedding"):
                parameter.mul_(4 * h**-0.5)  # a deviation of 1.2 / √H
    return model, torch.randint(v, (TEXTS, PROMPT), generator=generator)


def reading(model: LanguageModel, prompts: Tensor) -> list[Request]:
    """Return what tells the log p of all tokens after each id of the prompts but the last."""
    every = model.vocab_size
    return [Request(prompt=prompt, length=0, logprobs=every) for prompt in prompts.tolist()]


def continuing(model: LanguageModel, prompts: Tensor, seed: int) -> list[Request]:
    """Return texts that begin with the prompts, each drawn in its own way."""
    rng = random.Random(seed)
    return [
        Request(
            prompt=prompt,
            length=LENGTH + n,
            sampling=SamplingConfig(
                temperature=rng.choice([0.5, 1]),
                top_k=rng.choice([None, 5]),
                repetition_penalty=rng.choice([1, 1.3]),
                seed=seed,
            ),
            sample=n,
            logprobs=model.vocab_size,
        )
        for n, prompt in enumerate(prompts.tolist())
    ]


def written(
    model: LanguageModel,
    compute_dtype: torch.dtype,
    requests: Sequence[Request],
    seconds: float = 1.0,
) -> list[list[Tensor]]:
    """Return of each text log p (T, V) along it, and its ids: drawn together.

    Raises:
        RuntimeError: If no kernel would write it.
    """
    engine = Engine(model, compute_dtype=compute_dtype)
    if not isinstance(engine._runner, KernelRunner):
        raise RuntimeError("no kernel writes with this model")
    log_p: list[list[Tensor]] = [[] for _ in requests]
    ids: list[list[int]] = [[] for _ in requests]
    for key, request in enumerate(requests):
        engine.add(key, request)
    while len(engine):
        for output in engine.step(seconds):
            key = int(output.key)  # type: ignore[call-overload]
            ids[key] += output.ids
            for logprob in output.logprobs:
                order, found = zip(*logprob.top, strict=True)
                row = torch.empty(model.vocab_size, dtype=torch.float64)
                log_p[key].append(
                    row.index_copy(0, torch.tensor(order), torch.tensor(found).double())
                )
    return [
        [torch.stack(rows), torch.tensor(own).double()]
        for rows, own in zip(log_p, ids, strict=True)
    ]


def _of_stages(seed: int) -> CheckResult:
    """Compare the stages and the draw, of rows of logits."""
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    v = rng.choice((2, 7, 16, 86, 300))
    settings = Settings(
        repetition_penalty=rng.choice([1, 0.7, 1.3]),
        temperature=rng.choice([0.3, 1, 2]),
        top_k=rng.choice([None, 1, v // 2]),
        top_p=rng.choice([1, 0.37, 0.91]),
        min_p=rng.choice([0, 0.03]),
    )
    logits = 3 * torch.randn(ROWS, v, generator=generator)
    recent = torch.rand(ROWS, v, generator=generator) < 0.4
    u = torch.rand(ROWS, generator=generator, dtype=torch.float64)
    p = distribution(logits, recent, settings)
    rows = torch.tensor([decoding.settings_row(settings)] * ROWS, dtype=torch.float64)
    ids, log_p = decoding.choose(logits, recent.int(), rows, u)
    got = {"p": log_p.exp(), "drawn": ids.double() + 1}
    return distance(got, {"p": p, "drawn": draw(p, u).double() + 1}, 1e-12, f"seed {seed}")


def _distance(
    got: Sequence[Tensor], want: Sequence[Tensor], bound: float, case: str
) -> CheckResult:
    return distance(_named(got), _named(want), bound, case)


def _named(tensors: Sequence[Tensor]) -> Tensors:
    return {str(n): tensor.double() for n, tensor in enumerate(tensors)}
