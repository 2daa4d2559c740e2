"""The tales: told, scored, read back, and counted against what is known exactly."""

import hashlib
import io
import math
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, chisquare

from carousel.errors import ConfigError, TextError
from carousel.tales import (
    Tales,
    entropy_rate,
    floor,
    grammar,
    parse,
    score,
    tales,
    tell,
    write,
)
from carousel.tales.clashes import clashes
from carousel.tales.derivation import Derivation, derive, read
from carousel.tales.entropy import expectation, growth
from carousel.tales.grammar import Call, Draw

FUNCTION_WORDS = {"near", "over", "some", "number", "soon", "dawn", "hello", "oh"}


@pytest.fixture(scope="module")
def many() -> Tales:
    return tell(seed=1, characters=3_000_000)


def each(told: Tales) -> list[str]:
    return [told.text[a:b] for a, b in pairwise(told.borders)]


@pytest.fixture(scope="module")
def sample() -> list[Derivation]:
    uniform = random.Random(0).random
    return [derive(grammar(), uniform) for _ in range(10_000)]


# A source of known entropy


def test_no_tale_has_two_readings() -> None:
    assert clashes(grammar()) == []


def test_tales_end_and_are_of_a_page_or_so() -> None:
    assert growth(grammar()) < 0.9
    assert 600 < expectation(grammar()).characters < 1500
    assert 0.2 < entropy_rate() < 0.6


def test_reading_finds_the_choices_that_were_made() -> None:
    for tale in islice(tales(seed=2), 2000):
        derivations = read(grammar(), tale.text).derivations  # all there are
        assert [(d.text, d.nll) for d in derivations] == [(tale.text, tale.nll)]


def test_tales_cost_on_average_what_was_computed(sample: list[Derivation]) -> None:
    nlls = [derivation.nll for derivation in sample]
    lengths = [len(derivation.text) for derivation in sample]
    root = math.sqrt(len(sample))
    mean_nll, mean_length = expectation(grammar())
    assert abs(statistics.fmean(nlls) - mean_nll) < 4 * statistics.stdev(nlls) / root
    assert abs(statistics.fmean(lengths) - mean_length) < 4 * statistics.stdev(lengths) / root
    rate = entropy_rate()
    assert rate == mean_nll / mean_length
    residuals = [nll - rate * length for nll, length in zip(nlls, lengths, strict=True)]
    error = statistics.stdev(residuals) / root / mean_length  # of a ratio of means
    assert error < 0.001 * rate
    assert abs(sum(nlls) / sum(lengths) - rate) < 4 * error


def occasions(choices: tuple[int, ...]) -> Iterator[tuple[str, int]]:
    """Tell for each choice which rule or table it was made in, where nothing was left out."""
    made = iter(choices)
    todo = [Call(grammar().start)]
    while todo:
        part = todo.pop()
        if isinstance(part, Call):
            index = next(made)
            yield f"<{part.rule}>", index
            todo.extend(reversed(grammar().rules[part.rule].alternatives[index]))
        elif isinstance(part, Draw):
            index = next(made)
            if not part.unlike:
                yield f"[{part.table}]", index
    assert next(made, None) is None


def test_choices_are_as_frequent_as_their_probabilities(sample: list[Derivation]) -> None:
    counts: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for derivation in sample:
        for place, index in occasions(derivation.choices):
            counts[place][index] += 1
    total, freedom = 0.0, 0
    for place, counter in counts.items():
        source = grammar().rules if place.startswith("<") else grammar().tables
        choice = source[place[1:-1]].choice
        expected = [counter.total() * w / sum(choice.weights) for w in choice.weights]
        if min(expected) >= 5:
            found = chisquare([counter[i] for i in range(len(expected))], expected)
            assert found.pvalue > 1e-6, place
            total += found.statistic
            freedom += len(expected) - 1
    assert freedom > 2000
    assert chi2.sf(total, freedom) > 1e-4


# A source worth learning


def test_there_are_many_forms_and_words() -> None:
    forms = {
        alternative
        for name, rule in grammar().rules.items()
        if name.isidentifier()
        for alternative in rule.alternatives
        if any(isinstance(part, str) and re.search("[.!?]", part) for part in alternative)
    }
    words = {
        word.lower()
        for name, table in grammar().tables.items()
        if name not in FUNCTION_WORDS
        for forms in table.words
        for word in re.findall("[A-Za-z]+", forms.get("word", ""))
    }
    assert len(forms) >= 120
    assert len(words) >= 1500


def test_tales_are_plain_text_of_titles_and_paragraphs(many: Tales) -> None:
    assert many.text.isascii()
    assert 60 <= len(set(many.text)) <= 75
    for tale in each(many):
        title, *paragraphs = tale.removesuffix("\n\n").split("\n")
        assert title == title.upper()
        assert len(paragraphs) >= 2
        assert all(paragraphs), "a blank line within a tale"
        assert tale.count('"') % 2 == 0
    openings = [tale.split("\n")[1] for tale in each(many)]
    usual = statistics.fmean(line.startswith("Once upon a time") for line in openings)
    assert 0.4 < usual < 0.7
    assert 0.1 < statistics.fmean("THE END" in tale for tale in each(many)) < 0.3


@pytest.mark.parametrize(
    "slip",
    [
        r"\b[Aa] (?!one-eyed|uniform)[aeiou]",
        r"\b[Aa]n (?!honest)[^aeiou]",
        r"\b([Aa-z]+) \1\b",  # a doubled word
        r"  | [.,;:!?\n]|[.,;:!?]{2}",
        r"(?<=[.!?]) [a-z]",
        r"[][(){}<>|/_]",  # left over from the grammar
    ],
)
def test_language_is_clean(many: Tales, slip: str) -> None:
    assert not (found := re.search(slip, many.text)), many.text[max(found.start() - 60, 0) :][:120]


def test_what_is_said_early_returns_late(many: Tales) -> None:
    proverbs = [word["word"] for word in grammar().tables["proverb"].words]
    anyone = re.compile("|".join(proverbs))
    distances, repeats = [], []
    for tale in each(many):
        first, *_, last = anyone.finditer(tale)
        assert first[0] == last[0]
        distances.append(last.start() - first.start())
        if named := re.match(r"(?:HOW )?([A-Z]+)(?:'S| AND| FOUND| WON| RESCUED) ", tale):
            repeats.append(tale.count(named[1].capitalize()))
    assert min(repeats) >= 1
    assert statistics.fmean(repeats) > 4
    assert statistics.fmean(distances) > 500


def test_one_tale_in_four_holds_another(many: Tales) -> None:
    yarn = re.compile(r"(?m)^\"(?:This is the \w+ of the|Do you know what became of the) ")
    yarns = [len(yarn.findall(tale)) for tale in each(many)]
    assert 0.2 < statistics.fmean(n > 0 for n in yarns) < 0.3
    assert max(yarns) >= 3


# Telling, writing, scoring


def test_the_seed_alone_decides() -> None:
    code = "from carousel.tales import tell; print(tell(7, 20_000).text, end='')"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    mine = tell(7, 20_000).text.encode()
    assert hashlib.sha256(other).digest() == hashlib.sha256(mine).digest()
    assert tell(7, 5_000).text == mine.decode()[: tell(7, 5_000).borders[-1]]
    assert len({tell(seed, 1).text for seed in range(-20, 20)}) == 40


def test_tell_stops_with_the_tale_that_is_enough() -> None:
    told = tell(seed=3, characters=10_000)
    assert told.borders[-2] < 10_000 <= told.borders[-1] == len(told.text)
    assert len(told.borders) == len(told.nlls) + 1
    assert [(t.text, t.nll) for t in islice(tales(3), len(told.nlls))] == list(
        zip(each(told), told.nlls, strict=True)
    )
    with pytest.raises(ConfigError, match="characters must be at least 1, got 0"):
        tell(seed=3, characters=0)


def test_write_streams_what_tell_tells() -> None:
    class Counting(io.StringIO):
        longest = 0

        def write(self, text: str) -> int:
            self.longest = max(self.longest, len(text))
            return super().write(text)

    file = Counting()
    written = write(file, seed=4, characters=300_000)
    told = tell(seed=4, characters=300_000)
    assert file.getvalue() == told.text
    assert file.longest < 20_000
    assert written.characters == len(told.text)
    assert math.isclose(written.nll, math.fsum(told.nlls))
    assert math.isclose(score(told.text), math.fsum(told.nlls))


def test_floor_is_that_of_the_tales_between_two_borders() -> None:
    told = tell(seed=5, characters=20_000)
    start, stop = told.borders[2], told.borders[7]
    text = told.text[start:stop]
    assert math.isclose(floor(told, start, stop), score(text) / len(text))
    with pytest.raises(TextError, match=rf"character {start + 1} is no border .* {start} and "):
        floor(told, start + 1, stop)
    with pytest.raises(TextError, match="is no border"):
        floor(told, start, told.borders[-1] + 5)
    with pytest.raises(TextError, match="no tale lies between"):
        floor(told, stop, start)


@given(st.integers(0, 10**6), st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_text_is_refused_or_read_as_it_is(seed: int, data: st.DataObject) -> None:
    text = tell(seed, 1500).text
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from(sorted(set(text))))
    changed = text[:place] + letter + text[place + 1 :]
    try:
        assert "".join(d.text for d in parse(changed)) == changed
    except TextError as error:
        found = int(re.match(r"at character (\d+)", str(error))[1])
        assert 0 <= found <= len(changed)


def test_what_is_no_tale_is_refused_with_its_place() -> None:
    told = tell(seed=6, characters=5_000)
    assert parse("") == ()
    assert score("") == 0.0
    with pytest.raises(TextError, match="at character 0, in the tale from 0 on: no tale goes on"):
        score("It was a dark and stormy night.")
    start = told.borders[1]
    with pytest.raises(TextError, match=rf"in the tale from {start} on: .* and ends there"):
        score(told.text[: start + 300])
    with pytest.raises(
        TextError, match=f"at character {len(told.text) + 4}, .* with 'END, again' and ends"
    ):
        score(told.text + "THE END, again")


@pytest.mark.serial
def test_telling_is_fast() -> None:
    start = time.perf_counter()
    told = tell(seed=8, characters=1_000_000)
    assert len(told.text) / (time.perf_counter() - start) > 500_000  # characters per second
