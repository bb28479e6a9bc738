# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Colors of classes and objects that color-blind people can tell apart."""

from collections.abc import Collection

__all__ = ["class_color", "distinct_color", "instance_color", "object_numbers"]

# Color-blind-safe qualitative colors: seven of Okabe & Ito (2008), then those of Paul Tol's "muted" set that differ,
# the two darkest of them lightened so that the image stays visible under the tint.
_PALETTE = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (92, 74, 190),
    (160, 50, 110),
    (153, 153, 51),
    (68, 170, 153),
    (204, 102, 119),
    (221, 204, 119),
)
# Lightness of the rounds through the palette, and of the instances of a class: towards white (+) or black (-).
_ROUNDS = (0.0, -0.3, 0.3, -0.5, 0.15)
_SHADES = (0.0, 0.3, -0.28, 0.45, -0.42, 0.15, -0.14)


def _shade(color: tuple[int, int, int], amount: float) -> tuple[int, int, int]:
    goal = 255 if amount > 0 else 0
    red, green, blue = (round(value + (goal - value) * abs(amount)) for value in color)
    return red, green, blue


def class_color(class_id: int) -> tuple[int, int, int]:
    """Color of a class, the same in every image; after 13 classes the colors come back darker or lighter."""
    lap, position = divmod(int(class_id), len(_PALETTE))
    return _shade(_PALETTE[position], _ROUNDS[lap % len(_ROUNDS)])


def instance_color(class_id: int, instance: int) -> tuple[int, int, int]:
    """Shade of the class color for instance number 0, 1, ... of the class."""
    return _shade(class_color(class_id), _SHADES[instance % len(_SHADES)])


def distinct_color(index: int) -> tuple[int, int, int]:
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
