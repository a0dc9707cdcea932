"""The nouns of captions."""

import json
import multiprocessing
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import LONGEST_CAPTION
from cadvi_hub.pairing import nouns as extraction
from cadvi_hub.pairing.nouns import CHUNK, UNINFORMATIVE, load_tagger, noun_of, tag_captions
from cadvi_hub.pairing.settings import SPACY_MODEL

SAMPLE = Path(__file__).parents[3] / "shared/data/localized_narratives/coco_val_captions.jsonl"
needs_sample = pytest.mark.skipif(not SAMPLE.is_file(), reason="the sample captions are not beside this checkout")

ODD = [
    "",
    " \n\t",
    "😀 a dog 😀",
    "一匹马在草地上",
    "Ein Hund läuft.",
    "a\0b dog",
    "GONNA sit, y'all",
    "((((",
    "e\u0301lan",
]


def real_captions(count: int) -> list[str]:
    return [json.loads(line)["caption"] for line in SAMPLE.read_text().splitlines()[:count]]


@pytest.fixture(autouse=True, scope="module")
def loaded_once() -> Iterator[None]:
    tagger = extraction.CaptionTagger()
    make = extraction.CaptionTagger
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extraction, "CaptionTagger", lambda model: tagger if model == SPACY_MODEL else make(model))
        yield


def extract_nouns(captions: Iterable[str], workers: int | None = None) -> Iterator[tuple[str, ...]]:
    return (read.nouns for read in tag_captions(captions, workers=workers))


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "CHUNK", 50)
    monkeypatch.setattr(extraction, "POOL_FROM", 100)


def test_nouns_are_lemmas_in_lower_case_sorted_and_each_once() -> None:
    captions = ["There are two dogs, a dog and three mice near the fences.", "A red car passes a Honda motorcycle."]
    assert list(extract_nouns(captions)) == [("dog", "fence", "mouse"), ("car", "honda", "motorcycle")]
    assert set(extract_nouns(["Three vases.", "Some vases and a vase"])) == {("vase",)}


def test_words_about_the_picture_say_nothing() -> None:
    caption = "In the foreground of this picture, at the left side of the image, there is a scene with a tree."
    assert list(extract_nouns([caption])) == [("tree",)]


def test_captions_without_nouns_keep_their_place() -> None:
    assert list(extract_nouns(["", "Running quickly!", "A boat."])) == [(), (), ("boat",)]


def test_captions_are_read_as_a_stream() -> None:
    def captions() -> Iterator[str]:
        yield from ["A boat."] * CHUNK
        raise AssertionError("read beyond what was asked for")

    assert list(islice(extract_nouns(captions(), workers=1), CHUNK)) == [("boat",)] * CHUNK


@needs_sample
def test_real_and_odd_captions_give_the_nouns_of_plain_spacy() -> None:
    captions = real_captions(1_500) + ODD
    plain = [tuple(sorted({noun_of(token) for token in doc} - {""})) for doc in load_tagger().pipe(captions)]
    nouns = list(extract_nouns(captions))
    assert nouns == plain
    assert sum(map(bool, nouns)) > 1_450
    assert all(row == tuple(sorted(set(row))) and not UNINFORMATIVE & set(row) for row in nouns)


@needs_sample
def test_nouns_and_their_order_do_not_depend_on_the_number_of_processes_which_read_little_ahead(
    small_chunks: Any,
) -> None:
    read = 0

    def captions() -> Iterator[str]:
        nonlocal read
        for caption in real_captions(600) + ODD:
            read += 1
            yield caption

    nouns = extract_nouns(captions(), workers=2)
    first = next(nouns)
    assert 100 <= read <= 5 * 50
    assert [first, *nouns] == list(extract_nouns(captions(), workers=1))


def test_a_caption_too_long_to_be_one_is_refused_by_its_number() -> None:
    captions = ["A boat.", "a dog " * 2_000_000]
    with pytest.raises(InputError, match=r"caption 2 .*12000000 characters, more than the 10000"):
        list(extract_nouns(captions))
    assert list(extract_nouns(["dog ".ljust(LONGEST_CAPTION, "x")]))


def test_a_dead_worker_is_an_error_and_not_a_gap(small_chunks: Any) -> None:
    def captions() -> Iterator[str]:
        yield from ["A boat."] * 150
        for child in multiprocessing.active_children():
            child.kill()  # what the kernel does when memory is short
        yield from ["A boat."] * 150

    with pytest.raises(InputError, match="ended unexpectedly"):
        list(extract_nouns(captions(), workers=2))


def test_no_number_of_workers_below_one() -> None:
    with pytest.raises(InputError, match="workers: 0 is below 1"):
        list(extract_nouns(["A boat."], workers=0))


def test_a_missing_model_is_named_before_any_process_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"no_such_model: the spaCy model is not installed. Install it"):
        next(tag_captions(["A boat."], "no_such_model", workers=2))
    monkeypatch.setattr(extraction, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"the spaCy model is not installed. pip install en-core"):
        next(tag_captions(["A boat."]))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("A man rides a wave on his surfboard.", "The man is riding a wave, on a surfboard"),
        ("A man holding a racquet on top of a court.", "a man holds a racquet on the court!"),
        ("A player with a tennis racquet on a tennis court.", "A player with a tennis racquet on a court."),
    ],
)
def test_captions_that_say_the_same_have_one_wording(first: str, second: str) -> None:
    one, other = tag_captions([first, second])
    assert one.wording == other.wording


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("A red ball to the left of a blue box.", "A blue ball to the left of a red box."),
        ("A dog behind a cat.", "A cat behind a dog."),
        ("A zebra in a field.", "Zebras in a field."),
        ("A cat on the left.", "A cat on the right."),
        ("A cat on a table.", "A cat under a table."),
        ("A boy with a hat.", "A boy with no hat."),
        ("A man sits on a bench.", "A man stands on a bench."),
        ("Two dogs on a beach.", "Three dogs on a beach."),
    ],
)
def test_captions_that_differ_in_what_they_say_have_two_wordings(first: str, second: str) -> None:
    one, other = tag_captions([first, second])
    assert one.wording != other.wording


FOREIGN = {
    "de": ["Der Junge und der Hund spielen auf der Wiese.", "Zwei Männer fahren Fahrrad."],
    "fr": ["Une femme avec un chapeau rouge.", "Un chien court dans le jardin."],
    "es": ["Un perro corre por la playa.", "Dos gatos en el sofá."],
    "zh": ["一只狗在草地上跑。"],
    "ja": ["犬が公園で走っています。"],
}


@pytest.mark.parametrize("language", FOREIGN)
def test_a_caption_in_another_language_is_named_as_such(language: str) -> None:
    assert {read.language for read in tag_captions(FOREIGN[language])} == {language}


@needs_sample
def test_real_english_captions_are_taken_for_english() -> None:
    short = SAMPLE.parents[1] / "captioned_images/captions.jsonl"
    captions = real_captions(1_000) + [json.loads(line)["caption"] for line in short.read_text().splitlines()]
    assert [c for c, read in zip(captions, tag_captions(captions), strict=True) if read.language] == []


def test_a_model_of_the_users_own_finds_the_nouns_of_its_language(tmp_path: Path) -> None:
    import spacy

    german = spacy.blank("de")
    ruler: Any = german.add_pipe("attribute_ruler")
    ruler.add([[{"LOWER": {"IN": ["hund", "wiese", "junge"]}}]], {"POS": "NOUN"})
    german.to_disk(tmp_path / "model")
    captions = ["Der Junge und der Hund spielen auf der Wiese.", "A dog in a park with a red ball."]
    first, second = tag_captions(captions, str(tmp_path / "model"))
    assert (first.nouns, first.language) == (("hund", "junge", "wiese"), "")
    assert second.language == "en"
