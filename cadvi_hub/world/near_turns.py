"""Questions whose wrong option is nearly right: bound to another item, or true of a scene one edit away.

A model that only notes which words fit a picture somewhere answers them like a coin. It has to bind each property to
its item, count, and find places and backdrops.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from cadvi_hub.world.captions import Caption, describe, groups, make_caption, partial_phrase
from cadvi_hub.world.comparisons import pair_statement
from cadvi_hub.world.instruct import Turn, phrase_turn, which_caption_turn
from cadvi_hub.world.scene import Edit, Scene, Split, draw_scene, edit_scene

# The properties that a false claim borrows, and how often: more often what is hard to see.
BOUND = {"color": 1.0, "size": 1.0, "fill": 1.0, "action": 3.0, "place": 3.0, "count": 3.0}
# Weights of the properties of `instruct.CLAIMED`: actions, numbers, places and relations more often, since the base is
# least sure of them after its first claims.
HARD_CLAIMS = (0.5, 0.5, 0.8, 0.8, 2, 1.5, 1, 3, 5)
# What a near scene differs in: more often what is hard to see.
EDIT_WEIGHTS: dict[Edit, float] = {
    "count": 3,
    "place": 3,
    "swap": 3,
    "backdrop": 1.5,
    "kind": 1,
    "color": 1,
    "size": 1,
    "fill": 1,
    "action": 1,
}


def bound_claim_turn(rng: random.Random, scene: Scene, name: str | None = None) -> Turn | None:
    """Whether a claim about one item is true; a false one borrows a property from another item of the scene.

    Args:
        name: of the property; drawn from `BOUND` by default.

    Returns:
        None if the drawn items do not differ in the drawn property.
    """
    true = rng.random() < 0.5
    found = groups(scene)
    group = rng.choice(found)
    name = name or rng.choices(list(BOUND), list(BOUND.values()))[0]

    def value_of(items: list[Any]) -> Any:
        return len(items) if name == "count" else getattr(items[0], name)

    own = value_of(group)
    others = [value for other in found if other is not group and (value := value_of(other)) != own]
    if not others:
        return None
    phrase = partial_phrase(rng, group, rng.choice((0.0, 0.3, 0.7, 1.0)) if name == "count" else 0.25)
    claimed: dict[str, Any] = {name: own if true else rng.choice(others)}
    if name == "place":  # a group has several places
        claimed["count"] = 1
    if name == "count":
        claimed["exact"] = True
    phrase = replace(phrase, **claimed)
    if phrase.count > 1:
        phrase = replace(phrase, place="")
    return phrase_turn(rng, scene, phrase, true)


def draw_near_scene(
    rng: random.Random, scene: Scene, weights: Mapping[Edit, float] = MappingProxyType(EDIT_WEIGHTS)
) -> Scene | None:
    """A scene that differs from `scene` by one edit, drawn by `weights`; None if the edit does not apply."""
    return edit_scene(rng, scene, rng.choices(list(weights), list(weights.values()))[0])


def near_captions(rng: random.Random, scenes: tuple[Scene, Scene], tell: float) -> tuple[Caption, Caption] | None:
    """A caption of each scene in the same wording; None unless each is false of the other scene."""
    state = rng.getrandbits(32)
    first, second = (make_caption(random.Random(state), scene, tell) for scene in scenes)
    return None if first.holds(scenes[1]) or second.holds(scenes[0]) else (first, second)


def near_caption_turn(rng: random.Random, scene: Scene) -> Turn | None:
    """Which of two captions fits the image; the wrong one describes a scene one edit away, in the same wording."""
    other = draw_near_scene(rng, scene)
    captions = other and near_captions(rng, (scene, other), rng.choice((0.4, 0.7, 1.0)))
    if not captions:
        return None
    right = rng.randrange(2)
    return which_caption_turn([captions[k != right].text for k in range(2)], right)


def near_texts_turn(rng: random.Random, split: Split) -> Turn | None:
    """Reading practice: which of two near descriptions agrees with a caption, or a statement about both.

    Half of the descriptions are called images, as in captions that a language model reads.
    """
    first = draw_scene(rng, split)
    second = draw_near_scene(rng, first) or draw_scene(rng, split)
    scenes = (first, second) if rng.random() < 0.5 else (second, first)
    said = "Text" if rng.random() < 0.5 else "Image"
    texts = "\n".join(f"{said} {k}: {describe(scene).text}" for k, scene in enumerate(scenes, 1))
    if rng.random() < 0.6:
        statement, true, _ = pair_statement(rng, scenes)
        if said == "Text":
            statement = statement.replace("Both images show", "Both texts mention").replace("shows", "mentions")
            statement = statement.replace("Image", "Text").replace("image", "text")
        return f"{texts}\nTrue or False: {statement}", str(true)
    captions = near_captions(rng, scenes, rng.choice((0.4, 0.7, 1.0)))
    if captions is None:
        return None
    which = rng.randrange(2)
    return f'{texts}\nWhich {said.lower()} agrees with "{captions[which].text}"? Answer 1 or 2.', str(which + 1)
