"""The annotator `mentions` on real captions: how many pairs it keeps, how many of its statements hold, and its speed.

    python benchmarks/mentions.py --workers 2 --show 20

The captions are COCO's and Tux Paint's, from the sample data beside this checkout; their pairs are mined with the
defaults (one shared noun for Tux Paint's, whose captions are short). A statement is one thing that a summary says of
one image or of both, "two men riding a horse". The checker knows nothing of the annotator's reading; it compares
stems:

- every word of a statement must be in the caption of its image, and in both for a commonality;
- a number must be there as a word or as digits, or be the sum of what stands before that noun ("a", "one", "two");
- the noun of a difference in object types must not be in the other caption.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cadvi_hub.annotation.filters import check_summary
from cadvi_hub.annotation.mentions import Mentions
from cadvi_hub.annotation.prompt import captions_of
from cadvi_hub.core.processes import worker_pool
from cadvi_hub.core.schema import Aspect, CadSummary, CaptionedImage
from cadvi_hub.core.summaries import render_summary
from cadvi_hub.pairing.nouns import tag_captions
from cadvi_hub.pairing.pairs import mine_pairs
from cadvi_hub.pairing.settings import PairSettings

DATA = Path(__file__).parents[2] / "shared/data"
SETS = {
    "COCO": (DATA / "localized_narratives/coco_val_captions.jsonl", 2),
    "Tux Paint": (DATA / "captioned_images/captions.jsonl", 1),
}
CHUNK = 250  # pairs that a process summarises at a time
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
FRAME = {"a", "an", "the", "is", "are", "and", "of", "to", "both", "image", "images"}
IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "feet": "foot", "teeth": "tooth", "mice": "mouse",
    "geese": "goose", "knives": "knife", "shelves": "shelf", "leaves": "leaf", "loaves": "loaf", "wolves": "wolf",
    "calves": "calf", "scarves": "scarf", "halves": "half", "lying": "lie", "tying": "tie", "dying": "die",
    "oxen": "ox", "buses": "bus", "busses": "bus",
}  # fmt: skip
_SIDE = re.compile(r"(?:^|, while |(?<=\.) )(in )?image ([12]) (?:shows |is )?", re.IGNORECASE)
_ITEMS = re.compile(r", | and (?=(?:an?|the|one|two|three|four|five|six|seven|eight|nine|ten|\d+|\w+s)\b)")

Pair = tuple[str, str]


def stem(word: str) -> str:
    """A crude stem: "riding", "rides" and "ride" have the same one."""
    word = IRREGULAR.get(word, word)
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


def words_of(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def number_holds(number: int, noun: str, caption: str) -> bool:
    """Whether the caption has the number, or what stands before its nouns of that stem adds up to it."""
    words, total = words_of(caption), 0
    if NUMBERS[number - 1] in words or str(number) in words:
        return True
    for place, word in enumerate(words):
        if stem(word) == noun:
            before = words[max(place - 5, 0) : place][::-1]
            counted = next((w for w in before if w in ("a", "an", "another", *NUMBERS)), None)
            total += NUMBERS.index(counted) + 1 if counted in NUMBERS else counted is not None
    return total == number


def holds(statement: str, image: str, other: str | None) -> bool:
    """Whether `statement` is in the caption of its image; its last word must not be in that of `other`."""
    words = [word for word in words_of(statement) if word not in FRAME]
    known = {stem(word) for word in words_of(image)}
    for place, word in enumerate(words):
        if word in NUMBERS:
            following = [stem(each) for each in words[place + 1 :]]
            if not any(number_holds(NUMBERS.index(word) + 1, noun, image) for noun in following):
                return False
        elif stem(word) not in known:
            return False
    return other is None or not words or stem(words[-1]) not in {stem(word) for word in words_of(other)}


def statements(summary: CadSummary) -> Iterator[tuple[str, str, int | None]]:
    """Section, statement and image (0, 1, or None for both) of everything that a summary says."""
    for sentence in re.split(r"(?<=\.) ", summary.commonalities):
        for item in _ITEMS.split(re.sub(r"^Both images (?:show|are) ", "", sentence).rstrip(".")):
            yield "Commonalities", item, None
    for difference in summary.differences:
        sides = list(_SIDE.finditer(difference.text))
        ends = [side.start() for side in sides[1:]] + [len(difference.text)]
        for side, end in zip(sides, ends, strict=True):
            for item in _ITEMS.split(difference.text[side.end() : end].strip().rstrip(".")):
                yield difference.aspect, item, int(side[2]) - 1


def check(pair: Pair, summary: CadSummary) -> Iterator[tuple[str, str, bool]]:
    """Section, statement and whether it holds."""
    for section, statement, image in statements(summary):
        if image is None:
            yield section, statement, all(holds(statement, caption, None) for caption in pair)
        else:
            other = pair[1 - image] if section == Aspect.OBJECT_TYPES else None
            yield section, statement, holds(statement, pair[image], other)


def mined(file: Path, min_shared: int) -> list[Pair]:
    """The pairs of the file's captions."""
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    images = [
        CaptionedImage(str(k), row.get("image") or row["image_id"], row["caption"], "x") for k, row in enumerate(rows)
    ]
    nouns = [tagged.nouns for tagged in tag_captions((image.caption for image in images), workers=1)]
    pairs = mine_pairs(images, nouns, PairSettings(min_shared=min_shared)).pairs
    return list(map(captions_of, pairs))


@cache
def annotator() -> Mentions:
    """Of this process, as a build has it."""
    return Mentions()


def summarize(pairs: list[Pair]) -> tuple[list[CadSummary], float]:
    """The summaries, and the CPU seconds that they took."""
    start = time.process_time()
    return list(annotator().summarize_all(pairs)), time.process_time() - start


def measure(name: str, workers: int, most: int | None, show: int) -> None:
    """Print what becomes of one set."""
    pairs = mined(*SETS[name])
    pairs = random.Random(0).sample(pairs, min(most or len(pairs), len(pairs)))
    chunks = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    with worker_pool(workers, Mentions) as pool:
        list(pool.map(summarize, [pairs[:1]] * workers))  # loads the model
        start = time.perf_counter()
        results = list(pool.map(summarize, chunks))
        seconds = time.perf_counter() - start
    summaries = [summary for chunk, _ in results for summary in chunk]
    cpu_seconds = sum(cpu for _, cpu in results)
    drops, total, wrong, kept = Counter[str](), Counter[str](), list[str](), []
    for pair, summary in zip(pairs, summaries, strict=True):
        if dropped := check_summary(summary, min_words=8, max_words=400):
            drops[dropped.reason] += 1
            continue
        kept.append((pair, summary))
        for section, statement, is_right in check(pair, summary):
            total[section] += 1
            if not is_right:
                wrong.append(f"{section}: {statement!r} of {pair}")
    print(f"{name}: {len(pairs)} pairs, {len(kept) / len(pairs):.1%} kept, dropped {dict(drops)}")
    number = sum(total.values())
    print(f"  {number} statements, {1 - len(wrong) / number:.2%} hold; {dict(total)}")
    print(f"  {len(pairs) / seconds:.0f} pairs/s with {workers} processes")
    print(f"  {len(pairs) / cpu_seconds:.0f} pairs in a CPU second, {cpu_seconds:.1f} CPU seconds")
    for line in wrong[:show]:
        print("  does not hold:", line)
    for pair, summary in random.Random(0).sample(kept, min(show, len(kept))):
        print("\n1:", pair[0], "\n2:", pair[1], f"\n{render_summary(summary)}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pairs", type=int, help="pairs of each set, by default all")
    parser.add_argument("--show", type=int, default=0, help="statements that do not hold, and summaries, to print")
    given = parser.parse_args(arguments)
    if not all(file.is_file() for file, _ in SETS.values()):
        sys.exit(f"The sample captions are not in {DATA}")
    for name in SETS:
        measure(name, given.workers, given.pairs, given.show)


if __name__ == "__main__":
    main()
