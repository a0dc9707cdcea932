"""What a picture shows, as a graph: the common form of Visual Genome's graphs and our drawn scenes."""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class GraphObject:
    """One thing in a picture; words are in lower case.

    Attributes:
        names: what it is called, each name one or more words ("tennis racket").
        attributes: what it is like and what it does ("light blue", "sleeping").
        place: where it is in the picture, in words ("top left"); empty if unknown.
        box: left, top, width and height in pixels; None if unknown.
    """

    names: tuple[str, ...]
    attributes: tuple[str, ...] = ()
    place: str = ""
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class SceneGraph:
    """The things in a picture and the relations between them.

    A picture's backdrop (grass, a street) is one of its objects.

    Attributes:
        objects: one per thing, so that two cats are two objects.
        relations: subject, predicate ("to the left of") and object; things are positions in `objects`.
        complete: whether the graph holds every thing with its colour, size, pattern, action and place, and every
            relation of left, right, above and below. Then anything that is not in it is not in the picture.
    """

    objects: tuple[GraphObject, ...]
    relations: tuple[tuple[int, str, int], ...] = ()
    complete: bool = False
