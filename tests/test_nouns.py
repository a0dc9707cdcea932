"""The nouns of captions."""

import json
from itertools import islice
from pathlib import Path

import pytest

from cadvi_hub.pairing.nouns import UNINFORMATIVE, extract_nouns

SAMPLE = Path(__file__).parents[2] / "shared/data/localized_narratives/coco_val_captions.jsonl"


def test_nouns_are_lemmas_in_lower_case_sorted_and_each_once():
    captions = ["There are two dogs, a dog and three mice near the fences.", "A red car passes a Honda motorcycle."]
    assert list(extract_nouns(captions)) == [("dog", "fence", "mouse"), ("car", "honda", "motorcycle")]


def test_words_about_the_picture_say_nothing():
    caption = "In the foreground of this picture, at the left side of the image, there is a scene with a tree."
    assert list(extract_nouns([caption])) == [("tree",)]


def test_captions_without_nouns_keep_their_place():
    assert list(extract_nouns(["", "Running quickly!", "A boat."])) == [(), (), ("boat",)]


def test_captions_are_read_as_a_stream():
    def captions():
        yield from ["A boat."] * 5_000
        raise AssertionError("read beyond what was asked for")

    assert list(islice(extract_nouns(captions()), 5_000)) == [("boat",)] * 5_000


@pytest.mark.skipif(not SAMPLE.is_file(), reason="the sample captions are not beside this checkout")
def test_real_captions_give_the_same_nouns_in_any_batch():
    captions = [json.loads(line)["caption"] for line in SAMPLE.read_text().splitlines()[:300]]
    nouns = list(extract_nouns(captions))
    assert nouns == [*extract_nouns(captions[:7]), *extract_nouns(captions[7:])]
    assert sum(map(bool, nouns)) > 290
    assert all(row == tuple(sorted(set(row))) and not UNINFORMATIVE & set(row) for row in nouns)
