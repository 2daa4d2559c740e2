"""Batches: pure functions of their number, uniform, consecutive, and complete."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from carousel.data.batches import RESTART, ContiguousBatches, RandomWindows, evaluation_lanes
from carousel.errors import TextError

B, T = 3, 5
IDS = np.arange(101, dtype=np.uint8)  # each id tells its place


@pytest.mark.parametrize("kind", [RandomWindows, ContiguousBatches])
def test_targets_follow_their_tokens(kind: type[RandomWindows] | type[ContiguousBatches]) -> None:
    for k in range(40):
        tokens, targets, _ = kind(IDS, B, T, seed=1).batch(k)
        assert tokens.shape == targets.shape == (B, T)
        assert tokens.dtype == targets.dtype == np.int64
        np.testing.assert_array_equal(targets, (tokens + 1) % len(IDS))
        np.testing.assert_array_equal(targets[:, :-1], tokens[:, 1:])


@pytest.mark.parametrize("kind", [RandomWindows, ContiguousBatches])
def test_a_batch_depends_on_its_number_alone(
    kind: type[RandomWindows] | type[ContiguousBatches],
) -> None:
    through = kind(IDS, B, T, seed=1)
    batches = [through.batch(k) for k in range(25)]
    resumed = kind(IDS, B, T, seed=1)
    for k in (24, 3, 17, 3, 0):
        got, want = resumed.batch(k), batches[k]
        np.testing.assert_array_equal(got.tokens, want.tokens, err_msg=f"tokens of batch {k}")
        np.testing.assert_array_equal(got.targets, want.targets, err_msg=f"targets of batch {k}")
        np.testing.assert_array_equal(got.fresh, want.fresh, err_msg=f"fresh of batch {k}")
    other = kind(IDS, B, T, seed=2)
    assert any((other.batch(k).tokens != batches[k].tokens).any() for k in (0, 1))


def test_the_draws_never_change() -> None:
    # Written down once: a run resumed years later, under another numpy, goes on with the same.
    windows, lanes = RandomWindows(IDS, 4, T, seed=1), ContiguousBatches(IDS, 4, T, seed=1)
    assert windows.batch(7).tokens[:, 0].tolist() == [78, 7, 7, 2]
    assert windows.batch(10**12).tokens[:, 0].tolist() == [93, 80, 29, 70]
    assert lanes.batch(7).tokens[:, 0].tolist() == [16, 41, 66, 91]
    assert lanes.batch(10**12).tokens[:, 0].tolist() == [95, 19, 44, 69]


def test_window_starts_are_uniform_over_all_places() -> None:
    windows = RandomWindows(IDS, 50, T, seed=0)
    starts = np.concatenate([windows.batch(k).tokens[:, 0] for k in range(400)])
    counts = np.bincount(starts)
    assert len(counts) == len(IDS) - T  # the last window ends with the text
    assert chisquare(counts).pvalue > 1e-3


def test_one_batch_and_the_next_share_no_draw() -> None:
    # Counters next to each other would give batch k + 1 the draws of batch k, moved by four.
    windows = RandomWindows(np.arange(10**6, dtype=np.uint32), 64, T, seed=0)
    starts = np.concatenate([windows.batch(k).tokens[:, 0] for k in range(20)])
    assert len(set(starts)) > 0.999 * len(starts)


def test_windows_are_always_fresh() -> None:
    assert all(RandomWindows(IDS, B, T, seed=0).batch(k).fresh.all() for k in range(20))


def epoch(lanes: ContiguousBatches, number: int) -> list[np.ndarray]:
    first = number * lanes.batches_per_epoch
    batches = [lanes.batch(first + j) for j in range(lanes.batches_per_epoch)]
    assert batches[0].fresh.all()
    return [batch.targets for batch in batches]


def test_windows_of_a_lane_are_consecutive() -> None:
    lanes = ContiguousBatches(IDS, B, T, seed=0)
    for k in range(3 * lanes.batches_per_epoch - 1):
        batch, after = lanes.batch(k), lanes.batch(k + 1)
        if (k + 1) % lanes.batches_per_epoch:
            np.testing.assert_array_equal(after.tokens[:, 0], batch.targets[:, -1])


def test_lanes_forget_now_and_then_each_on_its_own() -> None:
    lanes = ContiguousBatches(np.zeros(10**6, dtype=np.uint8), 50, T, seed=0)
    fresh = np.array([lanes.batch(k).fresh for k in range(1, 2001)])  # (2000, 50)
    # 4 standard deviations of the mean of 100,000 draws
    assert abs(fresh.mean() - RESTART) < 4 * np.sqrt(RESTART / fresh.size)
    by_batch, by_lane = fresh.sum(1), fresh.sum(0)
    assert 0 < by_batch.var() < 2 * by_batch.mean()  # together they would vary 50 times as much
    assert by_lane.min() > 0


def test_an_epoch_of_lanes_meets_each_place_once_at_most() -> None:
    lanes = ContiguousBatches(IDS, B, T, seed=0)
    assert lanes.batches_per_epoch == 6  # 100 // 15
    for number in range(5):
        targets = np.concatenate(epoch(lanes, number), axis=1)  # (B, M T)
        assert len(np.unique(targets)) == targets.size == lanes.characters_per_epoch == 90
        lane_starts = targets[:, 0]
        np.testing.assert_array_equal(np.diff(lane_starts) % len(IDS), [30, 30])


def test_epochs_differ_in_where_windows_begin_and_in_what_is_left_out() -> None:
    lanes = ContiguousBatches(IDS, B, T, seed=0)
    firsts = [lanes.batch(number * lanes.batches_per_epoch).tokens[0, 0] for number in range(2000)]
    counts = np.bincount(firsts, minlength=len(IDS))
    assert chisquare(counts).pvalue > 1e-3
    seen = np.concatenate([np.concatenate(epoch(lanes, n), axis=1).ravel() for n in range(20)])
    assert len(np.unique(seen)) == len(IDS)


def test_an_epoch_of_windows_draws_as_many_characters_as_the_text_has() -> None:
    windows = RandomWindows(IDS, B, T, seed=0)
    assert windows.batches_per_epoch == 7  # 100 / 15, rounded up
    assert windows.characters_per_epoch == 105


@settings(deadline=None)
@given(st.integers(2, 60), st.integers(1, 9), st.integers(1, 11))
def test_evaluation_judges_every_character_but_the_first_once(
    length: int, lanes: int, chunk: int
) -> None:
    ids = np.arange(length, dtype=np.uint8)
    batches = list(evaluation_lanes(ids, lanes, chunk))
    judged = np.concatenate([batch.targets[batch.mask] for batch in batches])
    np.testing.assert_array_equal(np.sort(judged), np.arange(1, length))
    rows = min(lanes, length - 1)
    assert all(len(batch.tokens) == rows for batch in batches)
    assert all(batch.tokens.shape[1] == chunk for batch in batches[:-1])
    assert all(batch.mask.all() for batch in batches[:-1])
    assert batches[-1].mask[:, :-1].all()
    for row in range(rows):  # each lane is one unbroken stretch
        tokens = np.concatenate([batch.tokens[row][batch.mask[row]] for batch in batches])
        targets = np.concatenate([batch.targets[row][batch.mask[row]] for batch in batches])
        np.testing.assert_array_equal(tokens, np.arange(tokens[0], tokens[0] + len(tokens)))
        np.testing.assert_array_equal(targets, tokens + 1)
        assert len(tokens) in ((length - 1) // rows, -(-(length - 1) // rows))


def test_one_lane_is_the_text_as_one_stream() -> None:
    batches = list(evaluation_lanes(IDS, lanes=1, chunk=7))
    np.testing.assert_array_equal(np.concatenate([b.tokens[0] for b in batches]), IDS[:-1])
    np.testing.assert_array_equal(np.concatenate([b.targets[0] for b in batches]), IDS[1:])
    assert all(batch.mask.all() for batch in batches)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_smallest_texts(dtype: type[np.unsignedinteger]) -> None:
    ids = np.arange(B * T + 1, dtype=dtype)
    assert RandomWindows(ids[: T + 1], B, T, seed=0).batch(0).tokens.tolist() == [[*range(T)]] * B
    assert np.unique(ContiguousBatches(ids, B, T, seed=0).batch(0).targets).size == B * T
    assert ContiguousBatches(np.repeat(ids, 2)[: 2 * B * T], B, T, seed=0).batches_per_epoch == 1
    assert [batch.targets.tolist() for batch in evaluation_lanes(ids[:2], 64, 128)] == [[[1]]]


def test_texts_too_short_say_what_would_work() -> None:
    with pytest.raises(
        TextError,
        match="the text has 5 characters, and a window of 5 needs 6: "
        "a smaller --sequence-length would work",
    ):
        RandomWindows(IDS[:5], B, T, seed=0)
    with pytest.raises(
        TextError,
        match="the text has 15 characters, and 3 lanes of 5 need 16: "
        "a smaller --sequence-length or --batch-size would work",
    ):
        ContiguousBatches(IDS[:15], B, T, seed=0)
    with pytest.raises(TextError, match="the text has 1 characters; an evaluation needs 2"):
        evaluation_lanes(IDS[:1], 4, 8)
