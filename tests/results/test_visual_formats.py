# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What is written into images can be read from them."""

import numpy as np
import pytest

from hfseg.results.visual_formats import FORMATS, MAXIMUM_FLOW, find_format, largest_component, palette


@pytest.fixture
def draw():
    return np.random.default_rng(0)


def test_depth(draw):
    depth = draw.uniform(2, 50, (20, 30))
    image = FORMATS["depth"].encode(depth)
    assert image.shape == (20, 30, 3) and image.dtype == np.uint8
    relative = (depth - depth.min()) / (depth.max() - depth.min())
    np.testing.assert_allclose(FORMATS["depth"].decode(image), relative, atol=0.5 / 255 + 1e-6)
    assert not FORMATS["depth"].encode(np.full((4, 4), 7.0)).any()  # flat
    with pytest.raises(ValueError, match="NaN"):
        FORMATS["depth"].encode(np.array([[np.nan, 1.0]]))


def test_normals(draw):
    normals = draw.normal(size=(20, 30, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    again = FORMATS["normal"].decode(FORMATS["normal"].encode(normals))
    np.testing.assert_allclose(np.linalg.norm(again, axis=-1), 1, atol=1e-5)
    angles = np.degrees(np.arccos(np.clip((again * normals).sum(-1), -1, 1)))
    assert angles.max() < 0.6
    assert FORMATS["normal"].decode(np.full((1, 1, 3), 127, np.uint8))[0, 0, 2] > 0.5


def test_palette_colors_are_far_apart():
    colors = palette().astype(int)
    assert len(np.unique(colors, axis=0)) == 64
    for count, least in ((7, 255), (26, 85 * 85 * 2), (63, 85)):
        first = palette(count).astype(int)
        distances = ((first[:, None] - first[None]) ** 2).sum(-1)
        assert distances[~np.eye(count + 1, dtype=bool)].min() >= min(least, 85) ** 2
    with pytest.raises(ValueError, match="between 0 and 63"):
        palette(64)


def test_segmentation_through_noise(draw):
    segments = np.zeros((40, 40), dtype=int)
    segments[:20, :30], segments[20:, :15], segments[25:35, 20:38] = 17, 4, 900
    image = FORMATS["segmentation"].encode(segments).astype(int)
    noisy = np.clip(image + draw.integers(-40, 41, image.shape), 0, 255).astype(np.uint8)
    again = FORMATS["segmentation"].decode(noisy)
    # Ids become ranks by falling area; who is with whom stays.
    assert again[0, 0] == 1 and again[30, 0] == 2 and again[30, 30] == 3 and again[0, 39] == 0
    pairs = {(a, b) for a, b in zip(segments.ravel().tolist(), again.ravel().tolist())}
    assert len(pairs) == 4


def test_mask_and_edge_through_noise(draw):
    mask = draw.random((20, 30)) < 0.4
    for name in ("mask", "edge"):
        image = FORMATS[name].encode(mask).astype(int)
        noisy = np.clip(image + draw.integers(-100, 101, image.shape), 0, 255).astype(np.uint8)
        assert np.array_equal(FORMATS[name].decode(noisy), mask)


def test_detection():
    image = FORMATS["detection"].encode(((5, 3, 12, 8), (20, 30)))
    image[18, 28] = 255  # a smaller component
    assert FORMATS["detection"].decode(image) == (5, 3, 12, 8)
    assert FORMATS["detection"].decode(np.zeros((4, 4, 3), np.uint8)) is None
    assert largest_component(np.eye(4, dtype=bool)) == (0, 0, 4, 4)  # eight neighbors


def test_pose(draw):
    keypoints = np.zeros((17, 3))
    places = draw.permutation(36)[:17]
    keypoints[:, 0], keypoints[:, 1] = 20 + 36 * (places % 6), 20 + 36 * (places // 6)
    keypoints[:, 2] = 1
    keypoints[4, 2] = 0
    again = FORMATS["pose"].decode(FORMATS["pose"].encode((keypoints[None], (240, 240))))
    assert np.array_equal(again[:, 2], keypoints[:, 2])
    seen = keypoints[:, 2] > 0
    assert np.abs(again[seen, :2] - keypoints[seen, :2]).max() < 1.5


def test_flow(draw):
    limit = MAXIMUM_FLOW * 64
    flow = draw.uniform(-limit / 1.5, limit / 1.5, (2, 64, 80, 2))
    again = FORMATS["flow"].decode(FORMATS["flow"].encode(flow))
    assert np.abs(again - flow).max() < limit * 0.02
    assert not FORMATS["flow"].encode(np.zeros((4, 4, 2))).any()
    far = FORMATS["flow"].decode(FORMATS["flow"].encode(np.full((64, 64, 2), 100.0)))
    assert np.hypot(*far[0, 0]) == pytest.approx(limit, rel=0.01)  # too long to show: its direction stays


def test_unknown_format():
    with pytest.raises(ValueError, match="depth, normal"):
        find_format("heat")
