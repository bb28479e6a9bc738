# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Colors of classes and objects that color-blind people can tell apart."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

__all__ = ["class_color", "distinct_color", "instance_color", "object_numbers", "segment_colors"]

Color = tuple[int, int, int]

# As many as the longest legend has lines. Seven are Okabe & Ito's (2008). Each of the others is the color, of a grid of
# 18 levels per channel, that is farthest (CIEDE2000) from all before it, for normal vision and for protanopes,
# deuteranopes and tritanopes as Machado et al. (2009) simulate them; very dark, very light and gray ones were left out,
# so that the image stays visible under the tint. The first seven are at least 10.9 apart for everybody, all 24 8.6.
_PALETTE = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (105, 60, 45),
    (195, 225, 180),
    (30, 75, 105),
    (0, 255, 240),
    (60, 0, 225),
    (165, 60, 0),
    (135, 120, 255),
    (135, 90, 105),
    (180, 180, 120),
    (90, 120, 75),
    (240, 180, 195),
    (195, 0, 150),
    (105, 150, 75),
    (210, 225, 135),
    (180, 90, 135),
    (135, 180, 150),
    (180, 210, 255),
)
# Lightness of the rounds through the palette, and of the instances of a class: towards white (+) or black (-).
_ROUNDS = (0.0, -0.3, 0.3, -0.5, 0.15)
_SHADES = (0.0, 0.3, -0.28, 0.45, -0.42, 0.15, -0.14)


def _shade(color: Color, amount: float) -> Color:
    goal = 255 if amount > 0 else 0
    red, green, blue = (round(value + (goal - value) * abs(amount)) for value in color)
    return red, green, blue


def class_color(class_id: int) -> Color:
    """Color of a class, the same in every image; after 24 classes the colors come back darker or lighter."""
    lap, position = divmod(int(class_id), len(_PALETTE))
    return _shade(_PALETTE[position], _ROUNDS[lap % len(_ROUNDS)])


def instance_color(class_id: int, instance: int) -> Color:
    """Shade of the class color for instance number 0, 1, ... of the class."""
    return _shade(class_color(class_id), _SHADES[instance % len(_SHADES)])


def distinct_color(index: int) -> Color:
    """Color of object number 0, 1, ... of an image, whatever its class; neighbors in the list differ most."""
    lap, position = divmod(int(index), len(_PALETTE))
    return _shade(_PALETTE[(5 * position + 2 * lap) % len(_PALETTE)], _ROUNDS[lap % len(_ROUNDS)])


def object_numbers(count: int, class_ids: Collection[int]) -> list[int]:
    """Numbers for `distinct_color` of so many objects, none with the color of these classes (as far as colors go).

    >>> distinct_color(1) == class_color(5), object_numbers(3, [5])
    (True, [0, 2, 3])
    """
    taken, numbers = {class_color(class_id) for class_id in class_ids}, range(len(_PALETTE) * len(_ROUNDS))
    free = [number for number in numbers if distinct_color(number) not in taken] or list(numbers)
    return [free[position % len(free)] for position in range(count)]


def segment_colors(
    segments: Sequence[Mapping[str, Any]], classes: Sequence[int], color_by: str
) -> tuple[list[Color], list[bool]]:
    """Color of each segment, and whether it is that of its class.

    Args:
        segments: As `overlay` has them; with `"track"`, the number of an object in a video, or `"color_number"`, the
            color is the number's.
        classes: Of each segment.
        color_by: "class": instances of a class in shades of its color; "instance": each object in a color of its own,
            which no stuff of the image has, while stuff (`was_fused`, or without a score) keeps that of its class.
    """
    seen: dict[int, int] = {}
    colors, of_class = [], []
    things = [not segment.get("was_fused", segment.get("score") is None) for segment in segments]
    stuff = {class_id for class_id, thing in zip(classes, things) if not thing}
    numbers = iter(object_numbers(len(segments), stuff))
    for segment, class_id, thing in zip(segments, classes, things):
        number = int(segment["track"]) - 1 if "track" in segment else seen.get(class_id, 0)
        seen[class_id] = seen.get(class_id, 0) + 1
        if color_by == "instance" and thing:
            own = int(segment["track"]) - 1 if "track" in segment else int(segment.get("color_number", next(numbers)))
            colors.append(distinct_color(own))
        else:
            colors.append(instance_color(class_id, number))
        of_class.append(color_by != "instance" or not thing)
    return colors, of_class
