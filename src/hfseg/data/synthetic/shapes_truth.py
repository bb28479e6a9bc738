# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Depth, normals, edges and motion of `shapes` scenes: exact, by a simple geometry that the scenes are given here.

The viewer looks along the image's normal. Distances are in half image heights, so that the numbers do not depend on
the size in pixels.

* Sky is flat and farthest, at 10.
* Other stuff is a ground plane: 8 at the top row of the image, 3 at the bottom one; its normal leans up and forward.
* Things bulge toward the viewer: thing k from the front is half an ellipsoid around its center, as wide as its circle
  and 0.3 deep, based at 1.3 + 0.25 k. Nearer things hide farther ones, as drawn.

Normals are those of that surface (x right, y down, z toward the viewer); of things those of a half sphere. Edges are
the pixels that differ from their right or lower neighbor in segment. In clips things move by whole pixels per frame,
each with its own constant velocity, in front of a background at rest; flow is the velocity of what a pixel shows.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from .shapes import (
    SHAPES_VERSION,
    SPLITS,
    STUFF_NAMES,
    _check_arguments,
    _Draws,
    _paint_background,
    _place_things,
    label2id,
    render_scene,
)

__all__ = ["ClipTruth", "SceneTruth", "boundaries", "render_clip", "render_truth", "surface"]

SKY_DEPTH, GROUND_FAR, GROUND_NEAR = 10.0, 8.0, 3.0
THING_BASE, THING_STEP, THING_BULGE = 1.3, 0.25, 0.3
MAXIMUM_SPEED = 3
"""Largest speed of a thing in a clip, in pixels per frame and axis at a shorter side of 64."""


@dataclasses.dataclass(frozen=True)
class SceneTruth:
    """A scene with the truth of every dense task.

    Attributes:
        image: RGB image.
        segmentation: Segment ids, as in `shapes.Scene`.
        segments_info: As in `shapes.Scene`.
        depth: Distance from the viewer.
        normals: Unit normals.
        edges: Whether a pixel lies on a segment's border.

    Shape:
        image: (H, W, 3), uint8. segmentation: (H, W), int32. depth: (H, W), float32. normals: (H, W, 3), float32.
        edges: (H, W), bool.
    """

    image: np.ndarray
    segmentation: np.ndarray
    segments_info: list[dict[str, Any]]
    depth: np.ndarray
    normals: np.ndarray
    edges: np.ndarray


@dataclasses.dataclass(frozen=True)
class ClipTruth:
    """A clip with its truth; as `SceneTruth` with a frame axis in front.

    Attributes:
        frames: RGB images.
        segmentation: Ids of things (1, 2, ... the same in every frame), 0 for stuff.
        depth: Distance from the viewer.
        normals: Unit normals.
        flow: Motion to the next frame, (x, y) in pixels.

    Shape:
        frames: (T, H, W, 3), uint8. segmentation: (T, H, W), int32. depth: (T, H, W). normals: (T, H, W, 3).
        flow: (T, H, W, 2).
    """

    frames: np.ndarray
    segmentation: np.ndarray
    depth: np.ndarray
    normals: np.ndarray
    flow: np.ndarray


def surface(
    thing_ids: np.ndarray, is_sky: np.ndarray, things: list[tuple[int, tuple[float, float], float, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Computes depth and normals from who is seen where.

    Args:
        thing_ids: Id of the thing at every pixel, other numbers for stuff.
        is_sky: Where stuff is sky.
        things: (id, (x, y) of the center, radius, place from the front) of every thing, in pixels.

    Shape:
        thing_ids, is_sky: (H, W) -> (H, W) and (H, W, 3), float32.
    """
    height, width = thing_ids.shape
    rows = np.arange(height, dtype=np.float32)[:, None] + 0.5
    columns = np.arange(width, dtype=np.float32)[None] + 0.5
    ground = GROUND_FAR + (GROUND_NEAR - GROUND_FAR) * rows / height
    depth = np.where(is_sky, np.float32(SKY_DEPTH), ground).astype(np.float32)
    # Along a row of height h the plane comes nearer by (far - near) / h, in half image heights per pixel 2 / h.
    slope = (GROUND_FAR - GROUND_NEAR) / 2
    up = np.array([0.0, -slope, 1.0], dtype=np.float32) / math.hypot(slope, 1)
    normals = np.where(is_sky[..., None], np.array([0, 0, 1], dtype=np.float32), up)
    for thing_id, (x, y), radius, place in things:
        seen = thing_ids == thing_id
        if not seen.any():
            continue
        dx, dy = (columns - x) / radius, (rows - y) / radius
        bulge = np.sqrt(np.clip(1 - dx * dx - dy * dy, 0, 1))  # (H, W)
        depth[seen] = (THING_BASE + THING_STEP * place - THING_BULGE * bulge)[seen]
        vectors = np.stack(np.broadcast_arrays(dx, dy, bulge), axis=-1)
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
        normals[seen] = vectors[seen]
    return depth, normals.astype(np.float32)


def boundaries(segments: np.ndarray) -> np.ndarray:
    """Marks pixels that differ from their right or lower neighbor.

    Shape:
        segments: (H, W) -> (H, W), bool.
    """
    edges = np.zeros(segments.shape, dtype=bool)
    edges[:, :-1] |= segments[:, 1:] != segments[:, :-1]
    edges[:-1] |= segments[1:] != segments[:-1]
    return edges


def render_truth(
    index: int, *, image_size: tuple[int, int] = (96, 96), seed: int = 0, split: str = "train"
) -> SceneTruth:
    """Renders scene `index` of `shapes` (the same image) with its truth.

    Raises:
        ValueError: As `render_scene`.
    """
    scene = render_scene(index, image_size=image_size, seed=seed, split=split)
    things = [(thing.segment_id, thing.center, thing.radius, thing.depth_order) for thing in scene.objects]
    depth, normals = surface(scene.segmentation, scene.semantic_map() == label2id["sky"], things)
    edges = boundaries(scene.segmentation)
    return SceneTruth(scene.image, scene.segmentation, scene.segments_info, depth, normals, edges)


def render_clip(
    index: int, num_frames: int, *, image_size: tuple[int, int] = (64, 64), seed: int = 0, split: str = "train"
) -> ClipTruth:
    """Renders clip `index`: a scene of its own whose things move.

    The scene is drawn larger than the clip, so that what moves in is complete.

    Raises:
        ValueError: As `render_scene`, and for fewer than one frame.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames is {num_frames}; a clip has at least one.")
    _check_arguments(index, image_size, seed, split, SHAPES_VERSION)
    height, width = int(image_size[0]), int(image_size[1])
    unit = min(height, width) / 96
    limit = max(1, round(MAXIMUM_SPEED * min(height, width) / 64))
    # The last number keeps clips apart from scenes.
    major, minor = (int(part) for part in SHAPES_VERSION.split("."))
    draw = _Draws((major, minor, int(seed), SPLITS.index(split), int(index), 1))
    canvas = np.empty((3, height, width), dtype=np.float32)
    classes = np.empty((height, width), dtype=np.int32)
    _paint_background(canvas, classes, unit, draw)
    margin = limit * num_frames // 2
    placed = _place_things(height + 2 * margin, width + 2 * margin, unit, draw)
    moves = [(round(draw(-limit, limit)), round(draw(-limit, limit))) for _ in placed]
    is_sky = classes == label2id[STUFF_NAMES[0]]
    frames, maps, depths, normals, flows = [], [], [], [], []
    for frame in range(num_frames):
        image, ids = canvas.copy(), np.zeros((height, width), dtype=np.int32)
        flow = np.zeros((height, width, 2), dtype=np.float32)
        things = []
        for place in range(len(placed) - 1, -1, -1):  # back to front
            thing, (step_x, step_y) = placed[place], moves[place]
            # Centered in time, so that things are about where they were placed in the middle of the clip.
            shift_x = step_x * (frame - num_frames // 2) - margin
            shift_y = step_y * (frame - num_frames // 2) - margin
            things.append((place + 1, (thing.center[0] + shift_x, thing.center[1] + shift_y), thing.radius, place))
            top, left = thing.window[0].start + shift_y, thing.window[1].start + shift_x
            bottom, right = thing.window[0].stop + shift_y, thing.window[1].stop + shift_x
            rows = slice(max(top, 0), max(min(bottom, height), 0))
            columns = slice(max(left, 0), max(min(right, width), 0))
            if rows.start >= rows.stop or columns.start >= columns.stop:
                continue
            part = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
            region = image[:, rows, columns]
            region += thing.coverage[part] * (thing.colors[:, part[0], part[1]] - region)
            inside = thing.inside[part]
            ids[rows, columns][inside] = place + 1
            flow[rows, columns][inside] = (step_x, step_y)
        depth, normal = surface(ids, is_sky, things)
        frames.append(np.clip(image, 0, 255).astype(np.uint8).transpose(1, 2, 0))
        maps.append(ids)
        depths.append(depth)
        normals.append(normal)
        flows.append(flow)
    return ClipTruth(*(np.stack(part) for part in (frames, maps, depths, normals, flows)))
