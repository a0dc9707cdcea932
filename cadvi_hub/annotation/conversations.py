"""Summaries as training conversations (paper, sections 3.1 and 3.2); pure functions, seeded per pair."""

from __future__ import annotations

from cadvi_hub.annotation.prompt import captions_of, plain, render_prompt, seeded
from cadvi_hub.annotation.statements import Statements
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import CadSummary, ImagePair, Message, message
from cadvi_hub.core.summaries import render_summary

MOST_TOLD = 3  # which-image turns in a row; each costs few tokens, the images many


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


def told_apart_messages(pair: ImagePair, summary: CadSummary, seed: int) -> list[Message]:
    """Which-image turns of a pair without captions, one for each of up to `MOST_TOLD` verified differences.

    Args:
        summary: as a verifier leaves it, so that what it says of one image is not true of the other; without such a
            statement there is no turn.
    """
    statements = Statements(summary).to_place()
    asked = seeded(pair, seed, "which image").sample(statements, min(len(statements), MOST_TOLD))
    turns = [_which_image(text, which, show_images=number == 0) for number, (which, text) in enumerate(asked)]
    return [message for turn in turns for message in turn]


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
