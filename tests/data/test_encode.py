"""The two readings of a text: what the first finds is so, and the second writes its ids."""

import hashlib
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carousel.data.encode import survey, transcribe
from carousel.data.vocabulary import Vocabulary
from carousel.errors import TextError

CHUNKS = st.lists(st.text(alphabet="\n\nab\u00e9\U0001f600\uffff") | st.text(), min_size=1)


@given(CHUNKS.filter(any))
def test_both_readings_are_exact(chunks: list[str]) -> None:
    text = "".join(chunks)
    found = survey(chunks)
    assert found.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert found.vocabulary == Vocabulary.from_text(text)
    assert found.characters == len(text)
    assert found.documents > len(re.findall(r"\n\n(?=[^\n])", text))
    file = io.BytesIO()
    assert transcribe(chunks, found.vocabulary, file) == found.sha256
    ids = np.frombuffer(file.getvalue(), found.vocabulary.dtype)
    assert found.vocabulary.decode(ids) == text


@given(CHUNKS.filter(any), CHUNKS.filter(any))
def test_a_text_of_other_characters_is_known_by_its_hash(
    chunks: list[str], others: list[str]
) -> None:
    found = survey(chunks)
    is_same = "".join(chunks) == "".join(others)
    assert (transcribe(others, found.vocabulary, io.BytesIO()) == found.sha256) == is_same


def test_refuses_nothing_and_half_characters() -> None:
    for chunks in ([], [""], ["", ""]):
        with pytest.raises(TextError, match=r"^the text is empty$"):
            survey(chunks)
    with pytest.raises(TextError, match="half a surrogate pair"):
        survey(["a", "b\ud83d", "c"])
