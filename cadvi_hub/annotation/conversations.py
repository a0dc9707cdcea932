"""Summaries as training conversations (paper, sections 3.1 and 3.2); pure functions, seeded per pair."""

from __future__ import annotations

from cadvi_hub.annotation.prompt import captions_of, plain, render_prompt, seeded
from cadvi_hub.annotation.statements import Tells
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import CadSummary, ImagePair, Message, message
from cadvi_hub.core.summaries import render_summary


def v1_messages(pair: ImagePair, summary: CadSummary, seed: int) -> list[Message]:
    """Two turns: both images → the summary, without the captions; one of the captions → its image."""
    caption, which = _one_caption(pair, seed)
    return [*v2_messages(pair, summary, seed), *_which_image(caption, which, show_images=False)]


def v2_messages(pair: ImagePair, summary: CadSummary, seed: int) -> list[Message]:
    """One turn: both images and a request to compare them → the summary."""
    wording = seeded(pair, seed, "wording").getrandbits(16)
    return [*render_prompt("compare_images", wording=wording), _answer(render_summary(summary))]


def which_image_messages(pair: ImagePair, seed: int) -> list[Message]:
    """Without a summary: only the which-image turn, with the images in it."""
    return _which_image(*_one_caption(pair, seed))


def told_apart_messages(pair: ImagePair, tells: Tells, seed: int) -> list[Message]:
    """The which-image turn of a pair without captions, about one or two verified differences.

    Args:
        tells: what holds of each image and not of the other; at least one statement.
    """
    drawn = seeded(pair, seed, "which image")
    which = drawn.choice([image for image in (0, 1) if tells[image]])
    statements = tells[which]
    caption = " ".join(drawn.sample(statements, min(len(statements), drawn.choice((1, 2)))))
    return _which_image(caption, which)


def difference_note_messages(pair: ImagePair) -> list[Message]:
    """Ablation without structure and commonalities: both images → the unchanged difference note.

    Raises:
        InputError: the pair has no difference note.
    """
    if not pair.context:
        raise InputError(f"pair {pair.pair_id}", "it has no difference note", "Take pairs that have a context")
    return [*render_prompt("difference_note"), _answer(pair.context)]


def _one_caption(pair: ImagePair, seed: int) -> tuple[str, int]:
    """One of the captions, and the number of its image."""
    which = seeded(pair, seed, "which image").randrange(2)
    return captions_of(pair)[which], which


def _which_image(caption: str, which: int, show_images: bool = True) -> list[Message]:
    return [*render_prompt("which_image", caption=caption, show_images=show_images), _answer("AB"[which])]


def _answer(text: str) -> Message:
    return message("assistant", plain(text))
