"""The language of the tales on grammars small enough to list all their texts."""

import math
from collections import Counter
from collections.abc import Iterator

import pytest

from carousel.tales.clashes import clashes
from carousel.tales.derivation import derive, pick, read
from carousel.tales.entropy import expectation, growth
from carousel.tales.grammar import (
    Call,
    Draw,
    Grammar,
    Parts,
    Recall,
    Word,
    make_choice,
    make_rules,
    make_table,
)

TABLES = {
    "name": make_table(
        [5, 3, 2],
        [
            {"word": "ada", "he": "she"},
            {"word": "bo", "he": "he"},
            {"word": "cleopatra", "he": "she"},
        ],
    ),
    "beast": make_table([3, 1], [{"word": "owl", "a": "an owl"}, {"word": "ox", "a": "an ox"}]),
}
FINITE = """
start
  2 [Hero=name] and [friend=name!hero]<sight> and {friend.he} slept.
  3 [HERO=name]|<Deed> <deed>; {hero} or [name!hero].
deed
  1 [beast.a] (sang/ran
    off)
  4 (Nobody/No [beast]) came to {Hero}
sight
  1  met [hero=beast.a], {Hero}<sound>
  2  met nobody<sound>
sound
  7 : {hero}!
  1 ?
"""


def grammar(source: str) -> Grammar:
    return Grammar("start", TABLES, make_rules(source))


def every_text(
    grammar: Grammar, parts: Parts, scope: dict[str, tuple[int, Word]]
) -> Iterator[tuple[str, float]]:
    """List the texts of some parts with their probabilities: plainly, and apart from the source."""
    if not parts:
        yield "", 1.0
        return
    part, rest = parts[0], parts[1:]
    heads: list[tuple[str, float, dict[str, tuple[int, Word]]]] = []
    if isinstance(part, str):
        heads = [(part, 1.0, scope)]
    elif isinstance(part, Recall):
        heads = [(scope[part.name][1][part.form], 1.0, scope)]
    elif isinstance(part, Call):
        choice, alternatives = grammar.rules[part.rule]
        for weight, alternative in zip(choice.weights, alternatives, strict=True):
            for text, p in every_text(grammar, alternative, scope):
                heads.append((text, p * weight / sum(choice.weights), scope))
    elif isinstance(part, Draw):
        choice, words = grammar.tables[part.table]
        allowed = [i for i in range(len(words)) if not part.unlike or i != scope[part.unlike][0]]
        total = sum(choice.weights[i] for i in allowed)
        for i in allowed:
            known = {**scope, part.name: (i, words[i])}
            heads.append((words[i][part.form], choice.weights[i] / total, known))
    for head, p, known in heads:
        for tail, q in every_text(grammar, rest, known):
            yield head + tail, p * q


@pytest.fixture(scope="module")
def finite() -> tuple[Grammar, list[tuple[str, float]]]:
    toy = grammar(FINITE)
    return toy, list(every_text(toy, (Call("start"),), {}))


def test_the_probabilities_of_all_texts_sum_to_one(finite) -> None:
    _, texts = finite
    assert len(texts) == len(dict(texts)) > 200
    assert math.isclose(sum(p for _, p in texts), 1.0, rel_tol=1e-12)


def test_every_text_is_read_in_one_way_and_with_its_probability(finite) -> None:
    toy, texts = finite
    assert clashes(toy) == []
    for text, p in texts:
        (derivation,) = read(toy, text).derivations
        assert derivation.text == text
        assert math.isclose(derivation.nll, -math.log(p), rel_tol=1e-12)


def test_expectation_is_the_mean_over_all_texts(finite) -> None:
    toy, texts = finite
    nll, characters = expectation(toy)
    assert math.isclose(nll, sum(-p * math.log(p) for _, p in texts), rel_tol=1e-12)
    assert math.isclose(characters, sum(p * len(text) for text, p in texts), rel_tol=1e-12)


def test_expectation_of_a_loop_is_its_closed_form() -> None:
    toy = grammar("start\n  3 ab<start>\n  1 c")
    nll, characters = expectation(toy)
    assert math.isclose(characters, 3 * 2 + 1)  # on average three rounds: p / (1 - p)
    assert math.isclose(nll, 3 * math.log(4 / 3) + math.log(4))
    assert math.isclose(growth(toy), 3 / 4)


def test_stories_within_stories_give_the_outer_hero_back() -> None:
    toy = grammar(
        "start\n  1 [hero=name]: <inner>{hero}\ninner\n  1 [hero=name]: <inner>{hero}, \n  1 -"
    )
    uniforms = iter([0.0, 0.0, 0.0, 0.6, 0.0, 0.9, 0.9])  # ada; a story; bo; a story; cleopatra
    text, choices, nll = derive(toy, lambda: next(uniforms))
    assert text == "ada: bo: cleopatra: -cleopatra, bo, ada"
    assert choices == (0, 0, 0, 1, 0, 2, 1)
    assert math.isclose(math.exp(-nll), 0.5 * 0.5 * 0.3 * 0.5 * 0.2 * 0.5)


@pytest.mark.parametrize("without", [None, 0, 1, 2])
def test_pick_gives_each_option_its_weight(without: int | None) -> None:
    choice = make_choice([5, 3, 2])
    weights = {i: w for i, w in enumerate(choice.weights) if i != without}
    total = sum(weights.values())
    units = [(unit + 0.5) / total for unit in range(total)]
    assert Counter(pick(choice, u, without) for u in units) == weights
    assert pick(choice, 1 - 2**-53, without) == max(weights)
    assert pick(choice, 0.0, without) == min(weights)


def test_capitals_and_lines() -> None:
    toy = grammar("start\n  1 <Who> [Hero=beast] [hero=beast.A]|\n    {HERO}\nwho\n  1 (the/a) cat")
    assert derive(toy, lambda: 0.0).text == "The cat Owl An owl\n OWL"


@pytest.mark.parametrize(
    ("source", "clash"),
    [
        ("start\n  1 a cat\n  1 a catfish", "<start>: alternatives 1 and 2"),
        ("start\n  1 [beast] sang.\n  1 an eel\n  2 o<end>\nend\n  1 wl sa\n  1 x", "1 and 3"),
        ("start\n  1 [hero=name] <end>\nend\n  1 {hero}\n  1 {hero} ran", "<end>: alternatives"),
        ("start\n  1 [hero=name] <end>\nend\n  1 ad\n  1 {hero}", "<end>: alternatives 1 and 2"),
        ("start\n  1 [name.he]", "'she' begins 'she'"),
        ("start\n  1 a(b/bc)", "alternatives 1 and 2"),
    ],
)
def test_clashes_are_found(source: str, clash: str) -> None:
    assert any(clash in found for found in clashes(grammar(source)))


def test_with_a_clash_a_text_can_have_two_readings() -> None:
    toy = grammar("start\n  1 <first><second>\nfirst\n  1 a\n  1 ab\nsecond\n  1 bc\n  1 c")
    assert len(read(toy, "abc").derivations) == 2
    assert clashes(toy) == ["<first>: alternatives 1 and 2"]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("start\n  1 <nowhere>", "no rule is named 'nowhere'"),
        ("start\n  1 [a b]", r"cannot read '\[a b\]'"),
    ],
)
def test_mistakes_in_a_grammar_are_named(source: str, error: str) -> None:
    with pytest.raises((KeyError, ValueError), match=error):
        grammar(source)


def test_only_what_was_drawn_can_be_repeated() -> None:
    with pytest.raises(KeyError, match="hero"):
        expectation(grammar("start\n  1 <who> {hero}\nwho\n  1 [hero=name]"))


def test_only_words_of_the_same_table_can_be_left_out() -> None:
    with pytest.raises(ValueError, match="name cannot leave out a word of beast"):
        expectation(grammar("start\n  1 [one=beast] [name!one]"))
