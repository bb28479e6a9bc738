# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`shapes`: procedural scenes with exact panoptic, instance and semantic truth, so that everything runs offline.

A scene is a landscape of textured stuff (sky, grass, water, sand) in bands with wavy borders, sometimes with a pond or
patch, in front of which one to five things (circle, square, triangle, star, ring, cross) float and hide one another.
Things have random sizes, tilts (up to 25 degrees) and textures, and often, not always, their class's typical color.
Scene `index` is a pure function of `(version, seed, split, image_size, index)`: the order in which scenes are
drawn, the number of workers and the number of scenes do not matter. The image is anti-aliased; the labels are exact: a
pixel belongs to the front-most thing that contains its center, else to the stuff there, so no pixel is void.

Every thing also has a description (shape, color, texture, size, rotation, center, depth order, visible fraction),
from which the truth of other tasks can be derived.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..readers.schema import segments_from_map, semantic_map, universal_features

if TYPE_CHECKING:
    import datasets

__all__ = [
    "CATEGORIES",
    "COLORS",
    "SHAPES_VERSION",
    "SPLITS",
    "STUFF_CLASS_IDS",
    "Scene",
    "SceneObject",
    "ShapesDataset",
    "id2label",
    "label2id",
    "load_shapes",
    "render_scene",
    "stuff_class_ids",
    "thing_class_ids",
]

SHAPES_VERSION = "1.0"
"""Version of the generator; any change of a pixel or a label of any scene gets a new one."""

SPLITS = ("train", "validation", "test")

THING_NAMES = ("circle", "square", "triangle", "star", "ring", "cross")
STUFF_NAMES = ("sky", "grass", "water", "sand")
CATEGORIES: tuple[dict[str, Any], ...] = tuple(
    {"id": class_id, "name": name, "isthing": int(name in THING_NAMES)}
    for class_id, name in enumerate(THING_NAMES + STUFF_NAMES)
)
"""Categories in COCO's panoptic form: things first (0 to 5), then stuff (6 to 9)."""

id2label: dict[int, str] = {category["id"]: category["name"] for category in CATEGORIES}
label2id: dict[str, int] = {name: class_id for class_id, name in id2label.items()}
thing_class_ids: tuple[int, ...] = tuple(category["id"] for category in CATEGORIES if category["isthing"])
stuff_class_ids: tuple[int, ...] = tuple(category["id"] for category in CATEGORIES if not category["isthing"])
STUFF_CLASS_IDS = stuff_class_ids

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 48, 44),
    "orange": (240, 132, 30),
    "yellow": (244, 212, 52),
    "green": (46, 140, 66),
    "blue": (44, 84, 196),
    "purple": (132, 64, 168),
    "pink": (240, 134, 176),
    "white": (240, 240, 236),
    "black": (44, 44, 50),
}
"""Named colors of the things (sRGB); each thing varies a little around its color."""

TYPICAL_COLORS: dict[str, str] = {
    "circle": "red",
    "square": "orange",
    "triangle": "yellow",
    "star": "purple",
    "ring": "pink",
    "cross": "black",
}
TYPICAL_COLOR_SHARE = 0.6
"""Share of the things that have their class's typical color; the others have any color with equal chance. As in
photographs, color hints at the class but only the outline tells it, and a small network learns something early."""

TEXTURES = ("plain", "stripes", "dots", "checks", "gradient")

MINIMUM_IMAGE_SIDE = 32
_MINIMUM_VISIBLE_FRACTION = 0.4
_TILE = 512


@dataclasses.dataclass(frozen=True)
class SceneObject:
    """One thing of a scene.

    Attributes:
        segment_id: Its id in the segmentation.
        category_id: Its class.
        shape: Its class by name.
        color: Name of its main color, a key of `COLORS`.
        texture: One of plain, stripes, dots, checks, gradient.
        center: (x, y) of its center in pixels; the center of the first pixel is (0.5, 0.5).
        radius: Radius of the circle around it, in pixels.
        size: "small", "medium" or "large", by the radius relative to the shorter image side.
        rotation: Angle in degrees, clockwise on the screen, -25 to 25.
        depth_order: 0 for the front-most thing, then 1, 2, ...
        visible_fraction: Share of the thing's own pixels inside the image that nothing in front hides.
    """

    segment_id: int
    category_id: int
    shape: str
    color: str
    texture: str
    center: tuple[float, float]
    radius: float
    size: str
    rotation: float
    depth_order: int
    visible_fraction: float


@dataclasses.dataclass(frozen=True)
class Scene:
    """A rendered scene with its exact truth.

    Attributes:
        image: RGB image.
        segmentation: Segment id of every pixel: things 1..N from front to back, then stuff; 0 (void) never occurs.
        segments_info: `{"id", "category_id", "iscrowd", "area", "bbox": [x, y, width, height]}` of every segment.
        objects: The things, front-most first.

    Shape:
        image: (H, W, 3), uint8.
        segmentation: (H, W), int32.
    """

    image: np.ndarray
    segmentation: np.ndarray
    segments_info: list[dict[str, Any]]
    objects: tuple[SceneObject, ...]

    def semantic_map(self) -> np.ndarray:
        """Class of every pixel.

        Shape:
            (H, W), int64.
        """
        return semantic_map(self.segmentation, self.segments_info)


# ---------------------------------------------------------------------------------------------------------------------
# Signed distances (pixels, negative inside) of the unit shapes scaled to `radius`, in the thing's own coordinates.
# ---------------------------------------------------------------------------------------------------------------------


def _circle(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    return np.sqrt(x * x + y * y) - 0.85 * radius


def _square(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    return np.maximum(np.abs(x), np.abs(y)) - 0.7 * radius


def _triangle(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    return np.maximum(y, (math.sqrt(3) / 2) * np.abs(x) - 0.5 * y) - 0.5 * radius


def _star(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    # Fold the plane into half of one of the five points; there the outline is one straight edge from tip to notch.
    half = math.pi / 5
    angle = np.abs(np.mod(np.arctan2(x, -y) + half, 2 * half) - half)
    length = np.sqrt(x * x + y * y)
    notch = 0.47 * radius
    edge_x, edge_y = notch * math.cos(half) - radius, notch * math.sin(half)
    scale = 1 / math.hypot(edge_x, edge_y)
    return (length * np.cos(angle) - radius) * (edge_y * scale) - length * np.sin(angle) * (edge_x * scale)


def _ring(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    return np.abs(np.sqrt(x * x + y * y) - 0.7 * radius) - 0.22 * radius


def _cross(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    long, short = 0.92 * radius, 0.3 * radius
    x, y = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(x - long, y - short), np.maximum(x - short, y - long))


_DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "ring": _ring,
    "cross": _cross,
}


# ---------------------------------------------------------------------------------------------------------------------
# Textures
# ---------------------------------------------------------------------------------------------------------------------


@functools.cache
def _noise_tiles() -> dict[str, np.ndarray]:
    """Periodic noise in [-1, 1], laid out twice in both directions so that any window up to a tile is a plain slice."""
    white = (2 * np.random.Generator(np.random.PCG64(20260101)).random((_TILE, _TILE)) - 1).astype(np.float32)
    blades = sum(np.roll(white, shift, axis=0) for shift in range(4)) / 4
    blades = blades / np.abs(blades).max()
    return {"white": np.tile(white, (2, 2)), "blades": np.tile(blades, (2, 2))}


def _noise(kind: str, height: int, width: int, offset: tuple[float, float]) -> np.ndarray:
    top, left = int(offset[0] * _TILE), int(offset[1] * _TILE)
    tile = _noise_tiles()[kind]
    if height <= _TILE and width <= _TILE:
        return tile[top : top + height, left : left + width]
    rows, columns = (top + np.arange(height)) % _TILE, (left + np.arange(width)) % _TILE
    return tile[np.ix_(rows, columns)]


@functools.lru_cache(maxsize=64)
def _hat_weights(length: int, knots: int) -> np.ndarray:
    """Weights of smooth interpolation of `knots` values to `length` pixels.

    Shape:
        (length, knots), float32.
    """
    position = np.arange(length, dtype=np.float32) * ((knots - 1) / max(length - 1, 1))
    distance = np.clip(np.abs(position[:, None] - np.arange(knots, dtype=np.float32)), 0, 1)
    return 0.5 + 0.5 * np.cos(np.float32(np.pi) * distance)


class _Draws:
    """Uniform numbers in [0, 1) of one scene.

    Only `Generator.random` on PCG64 is used, the part of numpy's random streams that has never changed; bounded
    integers, choices and normal numbers have no such record.
    """

    def __init__(self, key: tuple[int, ...]) -> None:
        self.generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))
        self._next = iter(self.generator.random(512).tolist()).__next__

    def __call__(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * self._next()

    def choice(self, options: tuple[Any, ...] | list[Any]) -> Any:
        return options[int(self._next() * len(options))]

    def cloud(self, height: int, width: int, knots: tuple[int, int]) -> np.ndarray:
        """Smooth random surface in [0, 1] of shape (height, width)."""
        values = self.generator.random(knots).astype(np.float32)
        return _hat_weights(height, knots[0]) @ values @ _hat_weights(width, knots[1]).T


def _mix(dark: np.ndarray, light: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Blend of two colors (3,) by an amount (h, w) -> (3, h, w)."""
    return dark[:, None, None] + (light - dark)[:, None, None] * amount


def _color(values: tuple[float, float, float], draw: _Draws, spread: float) -> np.ndarray:
    jitter = np.array([draw(-spread, spread), draw(-spread, spread), draw(-spread, spread)], dtype=np.float32)
    return np.array(values, dtype=np.float32) + jitter


def _paint_stuff(name: str, height: int, width: int, unit: float, draw: _Draws) -> np.ndarray:
    """Texture of one kind of stuff.

    Shape:
        (3, height, width), float32 in about [0, 255].
    """
    offset = (draw(), draw())
    if name == "sky":
        amount = draw.cloud(height, width, (7, 5))
        amount = np.clip(2.4 * amount - 1.2 + draw(-0.2, 0.2), 0, 0.85)
        gradient = np.linspace(0, 1, height, dtype=np.float32)[:, None]
        blue = _mix(_color((92, 156, 226), draw, 14), _color((186, 216, 242), draw, 10), gradient)  # (3, height, 1)
        return blue + (np.float32(248) - blue) * amount
    rows = np.arange(height, dtype=np.float32)[:, None] / unit
    columns = np.arange(width, dtype=np.float32)[None] / unit
    if name == "water":
        swell = 0.9 * np.sin(columns * draw(0.12, 0.22) + 6.28 * draw()) + draw(-0.02, 0.02) * columns
        waves = np.sin(rows * draw(0.9, 1.25) + swell + 3 * draw.cloud(height, width, (4, 4)))
        return _mix(_color((26, 84, 148), draw, 14), _color((96, 168, 206), draw, 12), 0.5 + 0.5 * waves)
    if name == "grass":
        amount = 0.5 + 0.34 * _noise("blades", height, width, offset) + 0.3 * (draw.cloud(height, width, (4, 5)) - 0.5)
        return _mix(_color((38, 96, 30), draw, 12), _color((138, 190, 78), draw, 14), amount)
    ripple = np.sin(columns * draw(0.12, 0.26) + rows * draw(0.35, 0.6) + 2.5 * draw.cloud(height, width, (4, 4)))
    amount = 0.55 + 0.16 * ripple + 0.2 * _noise("white", height, width, offset)
    return _mix(_color((180, 144, 92), draw, 10), _color((240, 220, 172), draw, 8), amount)


def _texture(name: str, x: np.ndarray, y: np.ndarray, radius: float, pixel: float) -> np.ndarray | float:
    """Amount of the second color in [0, 1]; steps are a pixel wide (`pixel` in units of the pattern's phase)."""
    if name == "plain":
        return 0.0
    if name == "gradient":
        return np.clip(0.5 + 0.6 * y / radius, 0, 1)
    frequency = 2 * math.pi / (0.55 * radius)
    sharpness = 1 / max(frequency * pixel, 1e-6)
    if name == "stripes":
        return np.clip(0.5 + sharpness * np.sin(x * frequency), 0, 1)
    wave_x, wave_y = np.sin(x * frequency), np.sin(y * frequency)
    if name == "dots":
        return np.clip(0.5 + sharpness * (wave_x * wave_y - 0.35), 0, 1)
    return np.clip(0.5 + sharpness * np.sin(x * frequency * 0.7) * np.sin(y * frequency * 0.7), 0, 1)


# ---------------------------------------------------------------------------------------------------------------------
# Scene
# ---------------------------------------------------------------------------------------------------------------------


def _wave(positions: np.ndarray, draw: _Draws, span: float, amplitude: float) -> np.ndarray:
    """Wavy line: two sines of about one and three periods over `span`."""
    phase = positions * np.float32(2 * math.pi / span)
    slow = np.sin(phase * draw(0.6, 1.5) + 6.28 * draw())
    fast = np.sin(phase * draw(2.5, 4.5) + 6.28 * draw())
    return np.float32(amplitude) * (slow + np.float32(draw(0.2, 0.45)) * fast)


def _paint_background(canvas: np.ndarray, classes: np.ndarray, unit: float, draw: _Draws) -> None:
    """Paint bands of stuff, back to front, and sometimes a patch into `canvas` (3, H, W) and `classes` (H, W)."""
    height, width = classes.shape
    columns = np.arange(width, dtype=np.float32) + 0.5
    rows = np.arange(height, dtype=np.float32)[:, None] + 0.5
    ground = [name for name in STUFF_NAMES if name != "sky"]
    for position in (2, 1):  # shuffle the ground classes
        other = int(draw() * (position + 1))
        ground[position], ground[other] = ground[other], ground[position]
    with_sky = draw() < 0.7
    ground_bands = 1 if draw() < 0.5 else 2
    bands = (["sky"] if with_sky else []) + ground[:ground_bands]
    spare = ground[ground_bands:]

    # Borders at even shares of the height, moved by up to 40 % of half a share.
    share = height / len(bands)
    tops = [0.0] + [share * (k + draw(-0.2, 0.2)) for k in range(1, len(bands))]
    for position, name in enumerate(bands):
        if position == 0:
            canvas[:] = _paint_stuff(name, height, width, unit, draw)
            classes[:] = label2id[name]
            continue
        tilt = draw(-0.12, 0.12) * height * (columns / width - 0.5)
        border = tops[position] + tilt + _wave(columns, draw, width, draw(0.02, 0.05) * height)
        top = max(int(border.min()) - 1, 0)
        distance = rows[top:] - border  # (height - top, width), positive below the border
        texture = _paint_stuff(name, height - top, width, unit, draw)
        canvas[:, top:] += np.clip(distance + 0.5, 0, 1) * (texture - canvas[:, top:])
        classes[top:][distance > 0] = label2id[name]

    if spare and draw() < 0.4:
        name = draw.choice(spare)
        center_x, center_y = draw(0.2, 0.8) * width, tops[-1] + draw(0.45, 0.8) * (height - tops[-1])
        radius_x = draw(0.2, 0.34) * width
        radius_y = draw(0.3, 0.42) * (height - tops[-1])
        wobble = _wave(np.linspace(0, 2 * math.pi, 64, dtype=np.float32), draw, 2 * math.pi, 0.05)
        wobble = wobble + np.linspace(wobble[0] - wobble[-1], 0, 64, dtype=np.float32)[::-1]  # close the outline
        top, bottom = max(int(center_y - 1.2 * radius_y), 0), min(int(center_y + 1.2 * radius_y) + 2, height)
        left, right = max(int(center_x - 1.2 * radius_x), 0), min(int(center_x + 1.2 * radius_x) + 2, width)
        window = (slice(top, bottom), slice(left, right))
        x, y = (columns[left:right] - center_x) / radius_x, (rows[top:bottom] - center_y) / radius_y
        angle = np.arctan2(y, x)
        outline = 1 + np.interp(angle, np.linspace(-math.pi, math.pi, 64), wobble).astype(np.float32)
        distance = (np.sqrt(x * x + y * y) - outline) * min(radius_x, radius_y)
        region = canvas[:, top:bottom, left:right]
        texture = _paint_stuff(name, bottom - top, right - left, unit, draw)
        region += np.clip(0.5 - distance, 0, 1) * (texture - region)
        classes[window][distance < 0] = label2id[name]


@dataclasses.dataclass
class _Placed:
    """A thing before compositing: its attributes and its pixels in a window of the image."""

    shape: str
    color: str
    texture: str
    center: tuple[float, float]
    radius: float
    rotation: float
    window: tuple[slice, slice]
    coverage: np.ndarray  # (h, w) in [0, 1], anti-aliased
    inside: np.ndarray  # (h, w) bool, exact
    colors: np.ndarray  # (3, h, w)
    visible_fraction: float


def _place_thing(
    height: int,
    width: int,
    center: tuple[float, float],
    radius: float,
    shape: str,
    unit: float,
    draw: _Draws,
    typical_color_share: float,
) -> _Placed:
    """Draw one thing into a window of the image."""
    rotation = draw(-25, 25)
    any_color = draw.choice(list(COLORS))
    color = TYPICAL_COLORS[shape] if draw() < typical_color_share else any_color
    texture = draw.choice(("plain", *TEXTURES))
    main = _color(COLORS[color], draw, 12)
    luminance = float(main.mean())
    second = main + (np.float32(255) - main) * np.float32(0.6) if luminance < 150 else main * np.float32(0.6)

    reach = radius + 1.5
    top, bottom = max(int(center[1] - reach), 0), min(int(center[1] + reach) + 2, height)
    left, right = max(int(center[0] - reach), 0), min(int(center[0] + reach) + 2, width)
    screen_x = np.arange(left, right, dtype=np.float32)[None] + np.float32(0.5 - center[0])
    screen_y = np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(0.5 - center[1])
    cosine, sine = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    x = screen_x * cosine + screen_y * sine
    y = screen_y * cosine - screen_x * sine
    distance = _DISTANCES[shape](x, y, radius)

    amount = _texture(texture, x, y, radius, pixel=1.0)
    colors = _mix(main, second, np.broadcast_to(np.float32(amount), x.shape))
    # Light from the upper left, and a darker outline that keeps a green thing on grass visible.
    light = 1 - (screen_x + screen_y) * np.float32(0.16 / radius)
    outline = np.clip(distance + (0.6 + 0.5 * unit), 0, 1)
    colors *= light * (1 - np.float32(0.5) * outline)
    return _Placed(
        shape=shape,
        color=color,
        texture=texture,
        center=center,
        radius=radius,
        rotation=rotation,
        window=(slice(top, bottom), slice(left, right)),
        coverage=np.clip(0.5 - distance, 0, 1),
        inside=distance < 0,
        colors=colors,
        visible_fraction=1.0,
    )


def _place_things(
    height: int, width: int, unit: float, draw: _Draws, typical_color_share: float = TYPICAL_COLOR_SHARE
) -> list[_Placed]:
    """One to five things, front-most first, each at least 40 % visible."""
    side = min(height, width)
    wanted = 1 + int(draw() * 5)
    taken = np.zeros((height, width), dtype=bool)
    placed: list[_Placed] = []
    for _ in range(wanted):
        shape = draw.choice(THING_NAMES)
        radius = draw(0.13, 0.26) * side * (1.15 if shape == "triangle" else 1.0)
        # Of three places take the first that overlaps earlier things at most partly, so that occlusion is
        # frequent but seldom so strong that the thing has to be given up.
        places = [(draw(0.06, 0.94) * width, draw(0.06, 0.94) * height) for _ in range(3)]
        center = places[-1]
        for x, y in places:
            gaps = (math.hypot(x - p.center[0], y - p.center[1]) / (radius + p.radius) for p in placed)
            if all(gap > 0.5 for gap in gaps):
                center = (x, y)
                break
        thing = _place_thing(height, width, center, radius, shape, unit, draw, typical_color_share)
        whole = int(np.count_nonzero(thing.inside))
        visible = int(np.count_nonzero(thing.inside & ~taken[thing.window]))
        if placed and visible < _MINIMUM_VISIBLE_FRACTION * whole:
            continue
        thing.visible_fraction = visible / whole
        taken[thing.window] |= thing.inside
        placed.append(thing)
    return placed


def _check_arguments(index: int, image_size: tuple[int, int], seed: int, split: str, version: str) -> None:
    if version != SHAPES_VERSION:
        raise ValueError(f"shapes version {version!r} is unknown; this release renders version {SHAPES_VERSION!r}")
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is unknown; the splits of shapes are {', '.join(SPLITS)}")
    if index < 0:
        raise ValueError(f"scene index {index} is negative; indices start at 0")
    if seed < 0:
        raise ValueError(f"seed {seed} is negative; give a seed of 0 or more")
    if len(image_size) != 2 or min(image_size) < MINIMUM_IMAGE_SIDE:
        raise ValueError(
            f"image_size {tuple(image_size)} is not supported; give (height, width), each at least {MINIMUM_IMAGE_SIDE}"
        )


def render_scene(
    index: int,
    *,
    image_size: tuple[int, int] = (96, 96),
    seed: int = 0,
    split: str = "train",
    version: str = SHAPES_VERSION,
    typical_color_share: float = TYPICAL_COLOR_SHARE,
) -> Scene:
    """Scene number `index` with its exact segmentation; a pure function of its arguments.

    Args:
        index: Number of the scene, any integer >= 0.
        image_size: (height, width) in pixels.
        seed: Seed of the whole dataset.
        split: "train", "validation" or "test"; splits never share a random stream.
        version: Version of the generator that must be rendered.
        typical_color_share: Share of the things with their class's typical color. Other values than the standard one
            give other scenes, in which colors say less or more about classes.

    Raises:
        ValueError: For an unknown split or version, a negative index or seed, an image side below 32 pixels, or a
            share outside 0 to 1.
    """
    _check_arguments(index, image_size, seed, split, version)
    if not 0 <= typical_color_share <= 1:
        raise ValueError(f"typical_color_share is {typical_color_share}; it must be from 0 to 1")
    height, width = int(image_size[0]), int(image_size[1])
    unit = min(height, width) / 96  # lengths of the textures grow with the image
    major, minor = (int(part) for part in version.split("."))
    draw = _Draws((major, minor, int(seed), SPLITS.index(split), int(index)))

    canvas = np.empty((3, height, width), dtype=np.float32)
    classes = np.empty((height, width), dtype=np.int32)
    _paint_background(canvas, classes, unit, draw)
    things = _place_things(height, width, unit, draw, typical_color_share)

    segmentation = np.zeros((height, width), dtype=np.int32)
    for position in range(len(things) - 1, -1, -1):  # back to front
        thing = things[position]
        region = canvas[(slice(None), *thing.window)]
        region += thing.coverage * (thing.colors - region)
        segmentation[thing.window][thing.inside] = position + 1
    category_of_id = {position + 1: label2id[thing.shape] for position, thing in enumerate(things)}
    for class_id in stuff_class_ids:
        pixels = (classes == class_id) & (segmentation == 0)
        if pixels.any():
            segment_id = len(category_of_id) + 1
            category_of_id[segment_id] = class_id
            segmentation[pixels] = segment_id

    canvas *= np.float32(draw(0.82, 1.08))
    canvas += np.float32(draw(2.0, 7.0)) * _noise("white", height, width, (draw(), draw()))
    np.clip(canvas, 0, 255, out=canvas)
    image = np.ascontiguousarray(canvas.astype(np.uint8).transpose(1, 2, 0))  # (H, W, 3)

    side = min(height, width)
    objects = tuple(
        SceneObject(
            segment_id=position + 1,
            category_id=label2id[thing.shape],
            shape=thing.shape,
            color=thing.color,
            texture=thing.texture,
            center=thing.center,
            radius=thing.radius,
            size="small" if thing.radius < 0.16 * side else "medium" if thing.radius < 0.21 * side else "large",
            rotation=thing.rotation,
            depth_order=position,
            visible_fraction=thing.visible_fraction,
        )
        for position, thing in enumerate(things)
    )
    return Scene(image, segmentation, segments_from_map(segmentation, category_of_id), objects)


class ShapesDataset(torch.utils.data.Dataset):
    """Map-style dataset that renders `shapes` scenes when they are asked for.

    An item is `{"image": (H, W, 3) uint8, "segmentation": (H, W) int32, "segments_info": [...]}`: the universal schema
    without a detour through PNG. It holds no arrays, so it costs nothing to send to worker processes.

    Args:
        split: "train", "validation" or "test".
        num_scenes: Number of scenes.
        image_size: (height, width) in pixels.
        seed: Seed of the whole dataset.
        transform: Optional function from item to item.

    Raises:
        ValueError: As `render_scene`, and if `num_scenes` is not positive.
    """

    schema = "shapes"
    id2label = id2label
    label2id = label2id
    stuff_class_ids = stuff_class_ids
    ignore_index = 255

    def __init__(
        self,
        split: str = "train",
        num_scenes: int = 1000,
        image_size: tuple[int, int] = (96, 96),
        seed: int = 0,
        transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        _check_arguments(0, image_size, seed, split, SHAPES_VERSION)
        if num_scenes < 1:
            raise ValueError(f"num_scenes {num_scenes} is not positive; ask for at least one scene")
        self.split = split
        self.num_scenes = num_scenes
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.seed = seed
        self.transform = transform

    def __len__(self) -> int:
        return self.num_scenes

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -self.num_scenes <= index < self.num_scenes:
            raise IndexError(f"scene {index} of {self.num_scenes}")
        scene = render_scene(index % self.num_scenes, image_size=self.image_size, seed=self.seed, split=self.split)
        example = {"image": scene.image, "segmentation": scene.segmentation, "segments_info": scene.segments_info}
        return example if self.transform is None else self.transform(example)


def _png(array: np.ndarray) -> dict[str, Any]:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG", compress_level=1)
    return {"bytes": buffer.getvalue(), "path": None}


def load_shapes(
    split: str = "train", num_scenes: int = 1000, image_size: tuple[int, int] = (96, 96), seed: int = 0
) -> datasets.Dataset:
    """`shapes` as a `datasets.Dataset` in the universal schema, held in memory as PNG files.

    `segmentation` is a 16-bit PNG (mode `I;16`); `category_id` is a `ClassLabel`, so the class names travel in the data
    set's features.

    Raises:
        ValueError: As `ShapesDataset`.
    """
    import datasets

    columns: dict[str, list[Any]] = {"image": [], "segmentation": [], "segments_info": []}
    scenes = ShapesDataset(split, num_scenes, image_size, seed)
    for index in range(len(scenes)):
        example = scenes[index]
        columns["image"].append(_png(example["image"]))
        columns["segmentation"].append(_png(example["segmentation"].astype(np.uint16)))
        columns["segments_info"].append(example["segments_info"])
    features = universal_features(list(id2label.values()))
    info = datasets.DatasetInfo(
        features=features,
        description="Procedural scenes of textured shapes with exact panoptic truth, rendered by hfseg.",
        version=datasets.Version(f"{SHAPES_VERSION}.0"),
        license="Apache-2.0",
    )
    return datasets.Dataset.from_dict(columns, info=info, split=datasets.NamedSplit(split))
