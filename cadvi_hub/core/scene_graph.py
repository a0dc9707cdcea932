"""What a picture shows, as a graph: the one record that Visual Genome's graphs and our drawn scenes become."""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class GraphObject:
    """One thing in a picture; words are in lower case.

    Attributes:
        names: what it is called, in one word or several ("tennis racket").
        attributes: what it is like and what it does ("light blue", "sleeping").
        place: where in the picture, in words ("top left"); empty where the graph does not tell.
        box: left, top, width and height in pixels; None where the graph does not tell.
    """

    names: tuple[str, ...]
    attributes: tuple[str, ...] = ()
    place: str = ""
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class SceneGraph:
    """The things in a picture and how they stand to each other.

    A picture's backdrop (grass, a street) is one of its objects.

    Attributes:
        objects: one per thing, so that two cats are two objects.
        relations: subject, predicate ("to the left of") and object; the things by their position in `objects`.
        complete: whether the graph holds every thing with its colour, size, pattern, action and place, and every
            relation of left, right, above and below. Then what is not in it is not in the picture.
    """

    objects: tuple[GraphObject, ...]
    relations: tuple[tuple[int, str, int], ...] = ()
    complete: bool = False
