# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Referring expressions for `shapes` scenes, with exact truth: which thing is meant, and what kind of words say so.

All expressions of a scene follow from the descriptions of its things. An expression is used only if it means exactly
one thing, and positions count as different only if they differ by a tenth of the image's side. Kinds:

* `shape` ("the star"), `color` ("the red thing"), `color shape` ("the red star");
* `size` ("the large star"): the only one of that size among several of its shape;
* `absolute` ("the leftmost ring", "the thing at the top");
* `ordinal` ("the second thing from the left");
* `relative` ("the star above the red circle"): the only such thing on that side of a named one;
* `none` ("the green ring" where there is none): the truth is an empty mask.

Some combinations of color and shape (`HELD_OUT`) never occur in training, neither in images nor in words, so that a
model can be asked whether it understands the parts.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .shapes import (
    COLORS,
    SHAPES_VERSION,
    THING_NAMES,
    TYPICAL_COLOR_SHARE,
    Scene,
    SceneObject,
    _check_arguments,
    render_scene,
)

__all__ = ["HELD_OUT", "KINDS", "ReferringShapesDataset", "expressions_of", "referring_words"]

KINDS = ("shape", "color", "color shape", "size", "absolute", "ordinal", "relative", "none")
HELD_OUT = frozenset(
    {
        ("blue", "circle"),
        ("green", "square"),
        ("purple", "triangle"),
        ("yellow", "star"),
        ("white", "ring"),
        ("red", "cross"),
    }
)
"""Combinations of color and shape that training never sees; none is a shape's typical color."""

COMBINATIONS = ("seen", "held-out", "all")
_MARGIN = 0.1
# Direction -> (axis, sign): a thing lies in the direction if sign * (its center - the other's) > 0.
_DIRECTIONS = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}
_EXTREMES = {
    "left of": ("the leftmost {}", "the {} on the far left"),
    "right of": ("the rightmost {}", "the {} on the far right"),
    "above": ("the topmost {}", "the {} at the top"),
    "below": ("the lowest {}", "the {} at the bottom"),
}
_SIDES = {"left of": "left", "right of": "right", "above": "top", "below": "bottom"}
_ORDINALS = ("second", "third", "fourth")
_ATTRIBUTES = {"shape": "the {shape}", "color": "the {color} thing", "color shape": "the {color} {shape}"}
_SIZES = ("small", "medium", "large")


def referring_words() -> list[str]:
    """All words that expressions are made of, sorted."""
    words = {"the", "thing", "of", "on", "far", "at", "from", *COLORS, *THING_NAMES, *_SIZES, *_ORDINALS}
    words |= {word for direction in _DIRECTIONS for word in direction.split()} | set(_SIDES.values())
    words |= {"leftmost", "rightmost", "topmost", "lowest"}
    return sorted(words)


def is_held_out(thing: SceneObject) -> bool:
    """Whether training never sees this combination of color and shape."""
    return (thing.color, thing.shape) in HELD_OUT


def expressions_of(scene: Scene, image_size: tuple[int, int]) -> list[tuple[int, str, str]]:
    """All unambiguous expressions of a scene.

    Args:
        scene: From `render_scene`.
        image_size: (height, width) in pixels.

    Returns:
        (position in `scene.objects`, kind, expression), in a fixed order; without the kind `none`.
    """
    things = scene.objects
    height, width = image_size
    centers = [(thing.center[0] / width, thing.center[1] / height) for thing in things]
    groups = {"thing": list(range(len(things)))}
    groups |= {shape: _named(things, shape=shape) for shape in sorted({thing.shape for thing in things})}
    found = _by_attributes(things)
    for noun, members in groups.items():
        if len(members) > 1:
            found += _by_size(things, noun, members)
            found += _by_position(noun, members, centers)
    return found + _by_relation(things, groups, centers)


def _named(things: Sequence[SceneObject], **attributes: str) -> list[int]:
    """Positions of the things that have these attributes."""
    return [i for i, thing in enumerate(things) if all(getattr(thing, k) == v for k, v in attributes.items())]


def _by_attributes(things: Sequence[SceneObject]) -> list[tuple[int, str, str]]:
    """Expressions by shape, color, and both, where only one thing has them."""
    found = []
    for kind, template in _ATTRIBUTES.items():
        keys = [key for key in ("color", "shape") if f"{{{key}}}" in template]
        for values in sorted({tuple(getattr(thing, key) for key in keys) for thing in things}):
            attributes = dict(zip(keys, values))
            members = _named(things, **attributes)
            if len(members) == 1:
                found.append((members[0], kind, template.format(**attributes)))
    return found


def _by_size(things: Sequence[SceneObject], noun: str, members: list[int]) -> list[tuple[int, str, str]]:
    """Expressions by size, where only one of the members has it."""
    of_size = {size: [i for i in members if things[i].size == size] for size in _SIZES}
    return [(same[0], "size", f"the {size} {noun}") for size, same in of_size.items() if len(same) == 1]


def _by_position(noun: str, members: list[int], centers: Sequence[tuple[float, float]]) -> list[tuple[int, str, str]]:
    """Expressions by the place among the members: the first from a side, and the second and so on of three or more."""
    found: list[tuple[int, str, str]] = []
    for direction, templates in _EXTREMES.items():
        axis, sign = _DIRECTIONS[direction]
        ordered = sorted(members, key=lambda i: -sign * centers[i][axis])
        gaps = [abs(centers[a][axis] - centers[b][axis]) for a, b in itertools.pairwise(ordered)]
        if gaps[0] > _MARGIN:
            found.extend((ordered[0], "absolute", template.format(noun)) for template in templates)
        if len(ordered) >= 3 and all(gap > _MARGIN for gap in gaps):
            for position, ordinal in zip(ordered[1:-1], _ORDINALS):
                found.append((position, "ordinal", f"the {ordinal} {noun} from the {_SIDES[direction]}"))
    return found


def _by_relation(
    things: Sequence[SceneObject], groups: Mapping[str, list[int]], centers: Sequence[tuple[float, float]]
) -> list[tuple[int, str, str]]:
    """Expressions by the side of another thing, which color and shape name."""
    found = []
    for anchor, other in enumerate(things):
        if len(_named(things, color=other.color, shape=other.shape)) > 1:
            continue
        for direction, (axis, sign) in _DIRECTIONS.items():
            offsets = [sign * (center[axis] - centers[anchor][axis]) for center in centers]
            for noun, members in groups.items():
                rest = [i for i in members if i != anchor]
                beyond = [i for i in rest if offsets[i] > 0]
                # Where the noun alone would do, the relation says nothing.
                if len(beyond) == 1 and offsets[beyond[0]] > _MARGIN and (len(rest) > 1 or noun == "thing"):
                    found.append((beyond[0], "relative", f"the {noun} {direction} the {other.color} {other.shape}"))
    return found


class ReferringShapesDataset(torch.utils.data.Dataset):
    """Map-style dataset of `shapes` scenes with expressions, in the referring schema.

    An item is one referent: `{"image": (H, W, 3) uint8, "mask": (H, W) uint8 0 or 255, "expressions": [str], "kinds":
    [str], "ref_id": str}`, `kinds` naming the kind of every expression. Items are a pure function of the arguments.

    With `referents` K > 1 an item is a scene with K referents drawn from it (perhaps the same again): `mask` is
    `(K, H, W)`, `expressions` and `kinds` are K lists. Training computes the image's share of the work once for all.

    Args:
        split: "train", "validation" or "test".
        num_scenes: Number of items; each has a scene of its own.
        image_size: (height, width) in pixels.
        seed: Seed of the whole dataset.
        combinations: "seen" leaves out scenes with a held-out combination of color and shape; "held-out" asks for
            referents that have one; "all" makes no difference. None: "seen" in training, else "all".
        none_share: Share of items without a referent.
        referents: Referents per item.
        typical_color_share: See `render_scene`. At 0 nothing but its outline tells a thing's shape.
        minimum_things: Scenes with fewer things are left out, 1 to 5; in crowded scenes expressions have more to tell
            apart.

    Raises:
        ValueError: For values that are not legal.
    """

    schema = "referring"
    names_kinds = True

    def __init__(
        self,
        split: str = "train",
        num_scenes: int = 1000,
        image_size: tuple[int, int] = (96, 96),
        seed: int = 0,
        combinations: str | None = None,
        none_share: float = 0.1,
        referents: int = 1,
        typical_color_share: float = TYPICAL_COLOR_SHARE,
        minimum_things: int = 1,
    ) -> None:
        _check_arguments(0, image_size, seed, split, SHAPES_VERSION)
        if num_scenes < 1:
            raise ValueError(f"num_scenes {num_scenes} is not positive; ask for at least one scene")
        combinations = combinations or ("seen" if split == "train" else "all")
        if combinations not in COMBINATIONS:
            raise ValueError(f"combinations is {combinations!r}; must be one of {', '.join(COMBINATIONS)}")
        if not 0 <= none_share <= 1:
            raise ValueError(f"none_share is {none_share}; it must be from 0 to 1")
        if referents < 1:
            raise ValueError(f"referents is {referents}; it must be 1 or more")
        if not 0 <= typical_color_share <= 1:
            raise ValueError(f"typical_color_share is {typical_color_share}; it must be from 0 to 1")
        if not 1 <= minimum_things <= 5:
            raise ValueError(f"minimum_things is {minimum_things}; scenes have 1 to 5 things")
        self.referents = referents
        self.typical_color_share, self.minimum_things = typical_color_share, minimum_things
        self.split, self.num_scenes, self.seed = split, num_scenes, seed
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.combinations, self.none_share = combinations, none_share

    def __len__(self) -> int:
        return self.num_scenes

    def sample_id(self, index: int) -> str:
        """Name of an item."""
        return f"{self.split}-{self.seed}-{index}"

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -self.num_scenes <= index < self.num_scenes:
            raise IndexError(f"item {index} of {self.num_scenes}")
        index %= self.num_scenes
        draw = np.random.Generator(np.random.PCG64(np.random.SeedSequence((7, self.seed, index)))).random
        empty = [draw() < self.none_share for _ in range(self.referents)]
        attempt = 0
        while True:
            # Scenes of different items never coincide: every item has a range of its own.
            scene = render_scene(
                index + attempt * self.num_scenes,
                image_size=self.image_size,
                seed=self.seed,
                split=self.split,
                typical_color_share=self.typical_color_share,
            )
            attempt += 1
            if len(scene.objects) < self.minimum_things:
                continue
            held_out = [is_held_out(thing) for thing in scene.objects]
            if self.combinations == "seen" and any(held_out):
                continue
            wanted = held_out if self.combinations == "held-out" else [True] * len(scene.objects)
            found = [entry for entry in expressions_of(scene, self.image_size) if wanted[entry[0]]]
            if not found and not all(empty):
                continue
            items = [self._nothing(scene, draw) if none else self._referent(scene, found, draw) for none in empty]
            item = items[0]
            if self.referents > 1:
                item = {name: [one[name] for one in items] for name in item}
                item["mask"] = np.stack(item["mask"])
            return {"image": scene.image, **item, "ref_id": self.sample_id(index)}

    def _referent(self, scene: Scene, found: list[tuple[int, str, str]], draw: Any) -> dict[str, Any]:
        """A thing and all its expressions."""
        things = sorted({position for position, _, _ in found})
        position = things[int(draw() * len(things))]
        own = [entry for entry in found if entry[0] == position]
        mask = (scene.segmentation == scene.objects[position].segment_id).astype(np.uint8) * np.uint8(255)
        return {"mask": mask, "expressions": [text for _, _, text in own], "kinds": [kind for _, kind, _ in own]}

    def _nothing(self, scene: Scene, draw: Any) -> dict[str, Any]:
        """An expression for a thing that is not there, though its color or its shape may be."""
        present = {(thing.color, thing.shape) for thing in scene.objects}
        while True:
            color = list(COLORS)[int(draw() * len(COLORS))]
            shape = THING_NAMES[int(draw() * len(THING_NAMES))]
            if (color, shape) in present or (self.combinations == "seen" and (color, shape) in HELD_OUT):
                continue
            mask = np.zeros(self.image_size, dtype=np.uint8)
            return {"mask": mask, "expressions": [f"the {color} {shape}"], "kinds": ["none"]}
