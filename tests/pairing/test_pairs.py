"""Pair mining: which captions become pairs, in which order, and what each rule leaves out."""

from collections import Counter
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import CaptionedImage
from cadvi_hub.pairing import search
from cadvi_hub.pairing.pairs import mine_pairs
from cadvi_hub.pairing.settings import PairSettings


def captioned(images: list[int]) -> list[CaptionedImage]:
    return [CaptionedImage(str(image), f"{image}.jpg", f"caption {k}", "test") for k, image in enumerate(images)]


def random_nouns(captions: int, vocabulary: int = 60, seed: int = 0) -> list[tuple[str, ...]]:
    rng = np.random.default_rng(seed)
    zipf = 1 / np.arange(1, vocabulary + 1)
    drawn = (rng.choice(vocabulary, rng.integers(0, 8), replace=False, p=zipf / zipf.sum()) for _ in range(captions))
    return [tuple(sorted(f"n{number}" for number in row)) for row in drawn]


def test_pair_carries_captions_and_exactly_the_shared_nouns() -> None:
    nouns = [("dog", "grass", "tree"), ("car", "street"), ("cat", "grass", "tree")]
    result = mine_pairs(captioned([0, 1, 2]), nouns, PairSettings(min_shared=2))
    (pair,) = result.pairs
    assert sorted(zip(pair.images, pair.captions, strict=True)) == [("0.jpg", "caption 0"), ("2.jpg", "caption 2")]
    assert pair.shared_nouns == ("grass", "tree")
    assert pair.pair_id == "|".join(pair.images)
    assert pair.source == "test"
    assert result.counts["pairs"] == 1


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_greedy_choice_keeps_every_rule_and_leaves_no_possible_pair(data: Any) -> None:
    count = data.draw(st.integers(0, 14))
    images = data.draw(st.lists(st.integers(0, 8), min_size=count, max_size=count))
    nouns = data.draw(st.lists(st.sets(st.sampled_from("abcdefg")), min_size=count, max_size=count))
    rules = PairSettings(
        min_shared=data.draw(st.integers(1, 4)),
        max_uses_per_image=data.draw(st.integers(1, 5)),
        seed=data.draw(st.integers(0, 9)),
    )
    entries = captioned(images)
    result = mine_pairs(entries, [tuple(sorted(row)) for row in nouns], rules)
    nouns_of = {entry.caption: row for entry, row in zip(entries, nouns, strict=True)}
    image_of = {entry.caption: entry.image for entry in entries}
    uses = Counter(image for pair in result.pairs for image in pair.images)
    chosen = {frozenset(pair.images) for pair in result.pairs}
    for pair in result.pairs:
        assert pair.images == tuple(image_of[caption] for caption in pair.captions)
        first, second = (nouns_of[caption] for caption in pair.captions)
        assert set(pair.shared_nouns) == first & second
        assert len(pair.shared_nouns) >= rules.min_shared
    assert all(len(images) == 2 for images in chosen)
    assert len(chosen) == len(result.pairs)
    assert max(uses.values(), default=0) <= rules.max_uses_per_image
    scores = [len(pair.shared_nouns) for pair in result.pairs]
    assert scores == sorted(scores, reverse=True)
    for first, second in combinations(entries, 2):
        possible = (
            first.image != second.image and len(nouns_of[first.caption] & nouns_of[second.caption]) >= rules.min_shared
        )
        if possible and frozenset((first.image, second.image)) not in chosen:
            assert rules.max_uses_per_image in (uses[first.image], uses[second.image])


@pytest.mark.parametrize("min_shared", [1, 3])
@pytest.mark.parametrize("posting_cap", [3, 200])
@pytest.mark.parametrize("max_pairs", [5, 10_000])
def test_every_caption_and_every_candidate_is_accounted_for(min_shared: int, posting_cap: int, max_pairs: int) -> None:
    nouns = random_nouns(300)
    rules = PairSettings(min_shared=min_shared, max_uses_per_image=2, max_pairs=max_pairs, posting_cap=posting_cap)
    counts = mine_pairs(captioned([k // 2 for k in range(300)]), nouns, rules).counts
    assert counts["captions"] == 300
    assert counts["captions without nouns"] == sum(not row for row in nouns)
    assert counts["captions with fewer nouns than a pair must share"] == sum(0 < len(n) < min_shared for n in nouns)
    assert (counts["captions left out by posting_cap"] > 0) == (posting_cap == 3)
    removed = ["caption pairs of one image", "caption pairs not among the best of either caption"]
    assert counts["candidates"] == counts["caption pairs found"] - sum(counts[key] for key in removed)
    removed = [key for key in counts if key.startswith("candidates ")]
    assert counts["pairs"] == counts["candidates"] - sum(counts[key] for key in removed)
    assert 0 < counts["pairs"] <= max_pairs
    assert min(counts.values()) >= 0


def test_found_caption_pairs_are_those_that_share_enough_nouns() -> None:
    images, nouns = captioned([k // 2 for k in range(120)]), random_nouns(120)
    counts = mine_pairs(images, nouns, PairSettings(min_shared=2)).counts
    sharing = [(a, b) for a, b in combinations(range(120), 2) if len(set(nouns[a]) & set(nouns[b])) >= 2]
    assert counts["caption pairs found"] == len(sharing)
    assert counts["caption pairs of one image"] == sum(a // 2 == b // 2 for a, b in sharing)


def test_among_pairs_that_share_as_many_nouns_the_rarer_come_first() -> None:
    nouns: list[tuple[str, ...]] = [("man", "shirt", f"n{k}") for k in range(50)]
    nouns += [("axolotl", "quasar"), ("axolotl", "quasar")]
    pairs = mine_pairs(captioned(list(range(52))), nouns, PairSettings(min_shared=2)).pairs
    assert pairs[0].shared_nouns == ("axolotl", "quasar")
    assert {pair.shared_nouns for pair in pairs[1:]} == {("man", "shirt")}


def test_several_captions_of_an_image_never_pair_it_with_itself_or_twice_with_another() -> None:
    nouns = [("bird", "tree"), ("bird", "nest", "tree"), ("bird", "tree"), ("bird", "nest", "tree")]
    result = mine_pairs(captioned([0, 0, 1, 1]), nouns, PairSettings(min_shared=2))
    (pair,) = result.pairs
    assert pair.shared_nouns == ("bird", "nest", "tree")  # the best of the four ways to pair the two images
    assert result.counts["candidates with the same two images"] == 3


def test_images_with_one_and_the_same_caption_are_no_pair() -> None:
    images = [CaptionedImage(str(k), f"{k}.jpg", text, "test") for k, text in enumerate(["A dog.", "a  DOG."])]
    result = mine_pairs(images, [("dog",), ("dog",)], PairSettings(min_shared=1))
    assert result.pairs == []
    assert result.counts["candidates with the same caption twice"] == 1


@pytest.mark.parametrize(
    "text", ["A dog, on the grass!", "a dog on the grass", "“A dog on the grass.”", "A dog on the grass…"]
)
def test_captions_that_differ_in_punctuation_alone_are_no_pair(text: str) -> None:
    images = [
        CaptionedImage(str(k), f"{k}.jpg", caption, "test") for k, caption in enumerate(["A dog on the grass.", text])
    ]
    result = mine_pairs(images, [("dog", "grass")] * 2, PairSettings())
    assert result.pairs == []
    assert result.counts["candidates with the same caption twice"] == 1
    assert (result.counts["images"], result.counts["images without a pair"]) == (2, 2)


def test_captions_that_say_the_same_are_no_pair() -> None:
    images, nouns = captioned([0, 1, 2]), [("dog", "grass")] * 3
    result = mine_pairs(images, nouns, PairSettings(), ["a", "b", "a"])
    assert sorted(sorted(pair.images) for pair in result.pairs) == [["0.jpg", "1.jpg"], ["1.jpg", "2.jpg"]]
    assert result.counts["candidates with captions that say the same"] == 1


def test_a_pair_of_two_sources_names_them_in_one_order() -> None:
    images = [CaptionedImage(str(k), f"{k}.jpg", f"caption {k}", source) for k, source in enumerate("baab" * 5)]
    pairs = mine_pairs(images, [("dog", "grass")] * 20, PairSettings()).pairs
    assert {pair.source for pair in pairs} == {"a", "b", "a+b"}


def test_pairs_and_counts_depend_neither_on_the_block_size_nor_on_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    images, nouns = captioned([k % 150 for k in range(400)]), random_nouns(400)
    whole = mine_pairs(images, nouns, PairSettings(posting_cap=30))
    for products, threads in ((1, 1), (1000, 3)):
        monkeypatch.setattr(search, "usable_cores", lambda threads=threads: threads)
        monkeypatch.setattr(search, "BLOCK_PRODUCTS", products)
        assert mine_pairs(images, nouns, PairSettings(posting_cap=30)) == whole


def test_seed_decides_between_equals_and_nothing_else_does() -> None:
    images, nouns = captioned(list(range(200))), random_nouns(200)
    first, again, other = (mine_pairs(images, nouns, PairSettings(seed=seed)).pairs for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert Counter(len(pair.shared_nouns) for pair in first)[7] == Counter(len(p.shared_nouns) for p in other)[7]


def test_pairs_of_any_overlap_are_taken_where_the_closest_do_not_come_first() -> None:
    images, nouns = captioned(list(range(300))), random_nouns(300)
    close, mixed = (
        mine_pairs(images, nouns, PairSettings(min_shared=2, max_pairs=200, closest_first=first)).pairs
        for first in (True, False)
    )
    assert len(close) == len(mixed) == 200
    shared = [[len(pair.shared_nouns) for pair in pairs] for pairs in (close, mixed)]
    assert min(shared[1]) == 2
    assert np.mean(shared[0]) > np.mean(shared[1]) + 0.5


def test_either_image_may_stand_first() -> None:
    result = mine_pairs(captioned(list(range(400))), random_nouns(400), PairSettings())
    in_order = [int(a.removesuffix(".jpg")) < int(b.removesuffix(".jpg")) for a, b in (p.images for p in result.pairs)]
    assert 0.3 < np.mean(in_order) < 0.7


def test_overlap_survives_the_cap_on_long_postings() -> None:
    nouns: list[tuple[str, ...]] = [("man", "shirt", "tree")] * 1000
    nouns += [("axolotl", "man", "quasar", "shirt", "tree")] * 2
    result = mine_pairs(captioned(list(range(1002))), nouns, PairSettings(min_shared=3, posting_cap=20))
    assert result.pairs[0].shared_nouns == ("axolotl", "man", "quasar", "shirt", "tree")  # all nouns are counted
    assert len(result.pairs) >= 20  # and the captions that stay in the search stay with all their nouns


@pytest.mark.parametrize("nouns", [[], [()], [("dog",)], [(), ()]])
def test_captions_without_anything_to_share_give_no_pairs(
    nouns: list[tuple[str, ...]],
) -> None:
    result = mine_pairs(captioned(list(range(len(nouns)))), nouns, PairSettings())
    assert result.pairs == []
    assert result.counts["captions"] == len(nouns)


@pytest.mark.parametrize("name", ["min_shared", "max_uses_per_image", "max_pairs", "posting_cap"])
def test_settings_that_allow_no_pair_are_refused_by_name(name: str) -> None:
    wrong: dict[str, Any] = {name: 0}
    with pytest.raises(InputError, match=rf"setting {name}: it is 0"):
        mine_pairs([], [], replace(PairSettings(), **wrong))
