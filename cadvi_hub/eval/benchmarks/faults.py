"""Faults of the published files: counted and reported, never fixed, so that results stay comparable."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.schema import EmbeddedImage
from cadvi_hub.eval.benchmarks.benchmark import Benchmark
from cadvi_hub.eval.benchmarks.question import Question

DUPLICATE, SAME_ID = "the same question again", "the same id again"
SAME_HALVES, TELLING_ID = "both questions of a pair are the same", "the id tells the answer"
SAME_IMAGES, OTHER_ANSWER = "an image is there twice", "the same question again, with another answer"


class Faults:
    """What is wrong with the questions of one set; `flags` is complete when all of them have passed."""

    def __init__(self, benchmark: Benchmark):
        self.flags = Drops()
        self._benchmark = benchmark
        self._seen: set[bytes] = set()  # hashes of 8 bytes: 400,000 questions stay below 40 MB
        self._ids: set[bytes] = set()
        self._asked: set[bytes] = set()
        self._answers: dict[str, Counter[str]] = {}  # by half of the pair
        self._last: Question | None = None

    def watch(self, questions: Iterable[Question]) -> Iterator[Question]:
        """The questions as they are."""
        for question in questions:
            self._look_at(question)
            yield question
        answers = {half: sorted(counts) for half, counts in self._answers.items()}
        telling = len(answers) == 2 and all(len(of_half) == 1 for of_half in answers.values())
        if telling and answers["0"] != answers["1"] and self._answers["0"].total() > 1:
            told = ", ".join(f"_{half} is always {answers[half][0]}" for half in ("0", "1"))
            count = sum(counts.total() for counts in self._answers.values())
            self.flags.merge({TELLING_ID: {"count": count, "first": [told]}})

    def _look_at(self, question: Question) -> None:
        images = [_content(image) for image in question.images]
        asked = "\0".join((*images, question.text))
        again = self._is_known(self._asked, asked)
        if self._is_known(self._seen, f"{asked}\0{question.answer}"):
            self.flags.add(DUPLICATE, question.place)
        elif again and not self._benchmark.is_open:
            self.flags.add(OTHER_ANSWER, question.place)
        if len(set(images)) < len(images):
            self.flags.add(SAME_IMAGES, f"{question.place}: {question.id}")
        if self._is_known(self._ids, question.id):
            self.flags.add(SAME_ID, f"{question.place}: {question.id}")
        if self._benchmark.in_pairs:
            self._answers.setdefault(question.id[-1:], Counter())[question.answer] += 1
            last = self._last
            if last and (last.group, last.text, last.images) == (question.group, question.text, question.images):
                self.flags.add(SAME_HALVES, question.place)
            self._last = question
        for flag, detail in self._benchmark.flags(question) if self._benchmark.flags else ():
            self.flags.add(flag, f"{question.id}: {detail}")

    @staticmethod
    def _is_known(seen: set[bytes], content: str) -> bool:
        digest = hashlib.blake2b(content.encode(), digest_size=8).digest()
        if digest in seen:
            return True
        seen.add(digest)
        return False


def _content(image: EmbeddedImage) -> str:
    """What tells pictures apart: the bytes if they are there, since files of a data set often share a name."""
    data = image["bytes"]
    return (image["path"] or "") if data is None else hashlib.blake2b(data, digest_size=8).hexdigest()
