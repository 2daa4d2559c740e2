"""Pieces: whatever is asked of them, the answer is that of the joined copy."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from carousel.data.batches import ContiguousBatches, RandomWindows, evaluation_lanes
from carousel.data.range_view import IdSequence, Ranges, RangeView, part, total

SOURCE = np.random.default_rng(0).integers(250, size=300).astype(np.uint8)


@st.composite
def some_ranges(draw: st.DrawFn) -> Ranges:
    """One to twenty ranges within SOURCE: ascending, none empty, none touching."""
    edges = draw(st.sets(st.integers(0, len(SOURCE)), min_size=2, max_size=40))
    return np.array(sorted(edges)[: len(edges) // 2 * 2], np.int64).reshape(-1, 2)


def joined(ranges: Ranges) -> np.ndarray:
    return np.concatenate([SOURCE[start:stop] for start, stop in ranges])


@given(some_ranges(), st.data())
def test_integers_of_any_shape_give_what_the_joined_array_gives(
    ranges: Ranges, data: st.DataObject
) -> None:
    pieces, copy = RangeView(SOURCE, ranges), joined(ranges)
    assert (len(pieces), pieces.dtype) == (len(copy), copy.dtype)
    shape = data.draw(arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6))
    element = st.integers(-len(copy), len(copy) - 1)
    places = data.draw(arrays.arrays(np.int64, shape, elements=element))
    got = pieces[places]
    np.testing.assert_array_equal(got, copy[places], strict=True)
    for kind in (np.uint64, np.int32):
        small = np.abs(places).astype(kind) % np.asarray(len(copy), kind)
        np.testing.assert_array_equal(pieces[small], copy[small], strict=True)


@given(some_ranges(), st.data())
def test_slices_give_what_the_joined_array_gives(ranges: Ranges, data: st.DataObject) -> None:
    copy = joined(ranges)
    bound = st.none() | st.integers(-len(copy) - 3, len(copy) + 3)
    step = st.none() | st.integers(-4, 4).filter(bool)
    key = slice(data.draw(bound), data.draw(bound), data.draw(step))
    got = RangeView(SOURCE, ranges)[key]
    np.testing.assert_array_equal(got, copy[key], strict=True)


@given(some_ranges())
def test_every_place_and_the_whole(ranges: Ranges) -> None:
    pieces, copy = RangeView(SOURCE, ranges), joined(ranges)
    np.testing.assert_array_equal(pieces[:], copy, strict=True)
    np.testing.assert_array_equal(pieces[np.arange(len(copy))], copy, strict=True)
    assert total(ranges) == len(pieces)


@pytest.mark.parametrize("place", [5, -6, 10**12])
def test_a_place_outside_is_refused(place: int) -> None:
    pieces = RangeView(SOURCE, np.array([[0, 2], [4, 7]]))
    with pytest.raises(IndexError, match="out of bounds for 5 ids"):
        pieces[np.array([0, place])]


@pytest.mark.parametrize("key", [np.array([True, False]), np.array([0.0])])
def test_what_is_no_whole_number_is_refused(key: np.ndarray) -> None:
    with pytest.raises(IndexError, match="pieces are indexed with whole numbers, got"):
        RangeView(SOURCE, np.array([[0, 2], [4, 7]]))[key]


def test_pieces_do_not_copy_the_text(tmp_path: Path) -> None:
    SOURCE.tofile(tmp_path / "ids.bin")
    mapped = np.memmap(tmp_path / "ids.bin", np.uint8, mode="r")
    one = part(mapped, np.array([[7, 290]]))
    assert isinstance(one, np.memmap)
    np.testing.assert_array_equal(one, SOURCE[7:290])
    pieces = part(mapped, np.array([[7, 100], [101, 290]]))
    assert isinstance(pieces, RangeView)
    assert pieces.source is mapped
    assert type(pieces[3:250]) is np.ndarray  # nothing holds the map open
    assert type(pieces[np.array([3])]) is np.ndarray


@given(some_ranges(), st.integers(0, 30))
def test_batches_of_pieces_are_those_of_the_joined_array(ranges: Ranges, k: int) -> None:
    pieces, copy = part(SOURCE, ranges), joined(ranges)
    assert isinstance(pieces, IdSequence)
    if len(copy) < 13:
        return
    for kind in (RandomWindows, ContiguousBatches):
        got, want = kind(pieces, 3, 4, seed=5).batch(k), kind(copy, 3, 4, seed=5).batch(k)
        for name, array in want._asdict().items():
            np.testing.assert_array_equal(getattr(got, name), array, err_msg=name, strict=True)
    judged = zip(evaluation_lanes(pieces, 3, 7), evaluation_lanes(copy, 3, 7), strict=True)
    for got, want in judged:
        np.testing.assert_array_equal(got.targets, want.targets, strict=True)
        np.testing.assert_array_equal(got.mask, want.mask, strict=True)
