"""What is counted of written texts, on texts short enough to count by hand."""

import pytest

from carousel.inspection.text_statistics import distinct, known_words, repetition, words


def test_words_are_runs_of_letters() -> None:
    assert words("“Don’t,” said 2 old-fashioned KINGS; 'tis Élise's") == [
        *("don't", "said", "old", "fashioned", "kings", "tis", "élise's")
    ]


def test_repetition_counts_what_stood_in_the_same_text_before() -> None:
    again = "the king sang and the king sang and slept"  # 6 4-grams; the 5th is the first again
    assert repetition([again]) == pytest.approx(1 / 6)
    assert repetition(["the king sang well", "the king sang well"]) == 0
    assert repetition(["too short"]) == 0


def test_distinct_counts_across_texts() -> None:
    assert distinct(["a b c", "a b d"], 2) == pytest.approx(3 / 4)
    assert distinct(["a b c", "a b d"], 1) == pytest.approx(4 / 6)


def test_the_last_word_may_be_cut_off() -> None:
    assert known_words(["the kyng slept wel"], {"the", "slept", "well"}) == pytest.approx(2 / 3)
