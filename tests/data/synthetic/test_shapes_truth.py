# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Depth, normals, edges and motion of shapes."""

import numpy as np
import pytest

from hfseg.data.synthetic.shapes import label2id, render_scene
from hfseg.data.synthetic.shapes_truth import (
    GROUND_FAR,
    GROUND_NEAR,
    SKY_DEPTH,
    THING_BASE,
    THING_BULGE,
    THING_STEP,
    boundaries,
    render_clip,
    render_truth,
)


@pytest.mark.parametrize("index", range(6))
def test_truth_belongs_to_the_scene(index):
    scene, truth = render_scene(index, image_size=(64, 80)), render_truth(index, image_size=(64, 80))
    assert np.array_equal(scene.image, truth.image) and np.array_equal(scene.segmentation, truth.segmentation)
    classes = scene.semantic_map()
    sky = classes == label2id["sky"]
    assert (truth.depth[sky] == SKY_DEPTH).all() and (truth.normals[sky] == [0, 0, 1]).all()
    np.testing.assert_allclose(np.linalg.norm(truth.normals, axis=-1), 1, atol=1e-5)
    things = truth.segmentation <= len(scene.objects)
    ground = ~sky & ~things
    assert (truth.depth[ground] > GROUND_NEAR).all() and (truth.depth[ground] < GROUND_FAR).all()
    for thing in scene.objects:
        seen = truth.segmentation == thing.segment_id
        base = THING_BASE + THING_STEP * thing.depth_order
        assert (truth.depth[seen] <= base + 1e-6).all() and (truth.depth[seen] >= base - THING_BULGE - 1e-6).all()


def test_what_hides_is_nearer():
    """Along every border between two things the one in front is nearer."""
    found = 0
    for index in range(30):
        scene, truth = render_scene(index, image_size=(64, 64)), render_truth(index, image_size=(64, 64))
        order = {thing.segment_id: thing.depth_order for thing in scene.objects}
        for thing in scene.objects:
            seen = truth.segmentation == thing.segment_id
            others = [o for o in scene.objects if order[o.segment_id] > thing.depth_order]
            for other in others:
                behind = truth.segmentation == other.segment_id
                touching = seen[:, 1:] & behind[:, :-1]
                if touching.any():
                    found += 1
                    assert truth.depth[:, 1:][touching].mean() < truth.depth[:, :-1][touching].mean() + THING_BULGE
    assert found > 5


def test_normals_of_the_ground_follow_from_its_depth():
    """A plane z(y): the normal is orthogonal to its tangent (0, dy, -dz) with z toward the viewer."""
    truth = render_truth(0, image_size=(64, 64))
    slope = (GROUND_NEAR - GROUND_FAR) / 2  # of depth, per half image height
    flat = (truth.normals[..., 1] < -0.5) & (truth.normals[..., 0] == 0)
    assert flat.any()
    normal = truth.normals[flat][0]
    tangent = np.array([0, 1, -slope])  # down the image the plane comes toward the viewer
    assert abs(normal @ tangent) < 1e-6


def test_edges():
    segments = np.array([[1, 1, 2], [1, 1, 2], [3, 3, 3]])
    assert boundaries(segments).tolist() == [[False, True, False], [True, True, True], [False, False, False]]


def test_clips_move_by_their_flow():
    found = 0
    for index in range(4):
        clip = render_clip(index, 7, image_size=(48, 64))
        assert clip.frames.shape == (7, 48, 64, 3) and clip.frames.dtype == np.uint8
        again = render_clip(index, 7, image_size=(48, 64))
        assert all(np.array_equal(a, b) for a, b in zip(vars(clip).values(), vars(again).values()))
        for frame in range(6):
            for thing in np.unique(clip.segmentation[frame])[1:]:
                seen = clip.segmentation[frame] == thing
                velocities = np.unique(clip.flow[frame][seen], axis=0)
                assert len(velocities) == 1  # a thing moves as a whole
                dx, dy = velocities[0].astype(int)
                rows, columns = np.nonzero(seen)
                rows, columns = rows + dy, columns + dx
                kept = (rows >= 0) & (rows < 48) & (columns >= 0) & (columns < 64)
                # What is in front stays in front, so only a nearer thing can take a pixel away.
                later = clip.segmentation[frame + 1][rows[kept], columns[kept]]
                assert ((later == thing) | ((later > 0) & (later < thing))).all()
                found += 1
        assert not clip.flow[clip.segmentation == 0].any()
    assert found > 20


def test_clips_are_not_scenes_and_not_each_other():
    first, second = render_clip(0, 2), render_clip(1, 2)
    assert (first.frames != second.frames).any()
    with pytest.raises(ValueError, match="at least one"):
        render_clip(0, 0)
    with pytest.raises(ValueError, match="splits"):
        render_clip(0, 3, split="dev")
