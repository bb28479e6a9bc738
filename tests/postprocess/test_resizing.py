# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Resizing in bands equals two resizes and a crop."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hfseg import postprocess
from hfseg.postprocess.resizing import BandResizer


def plain_resize(logits, padded, image, output):
    logits = F.interpolate(logits[None], size=padded, mode="bilinear", align_corners=False)
    logits = logits[..., : image[0], : image[1]]
    return F.interpolate(logits, size=output, mode="bilinear", align_corners=False)[0]


GEOMETRIES = [
    # logits, padded, image, output
    ((24, 32), (96, 128), (90, 120), (135, 180)),
    ((24, 32), (96, 128), (96, 128), (96, 128)),
    ((8, 40), (32, 160), (1, 160), (1, 5000)),
    ((40, 8), (160, 32), (160, 3), (7, 1)),
    ((16, 16), (64, 64), (61, 37), (610, 371)),
    ((25, 34), (100, 136), (99, 136), (48, 64)),
]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_fused_resize_equals_two_resizes_and_a_crop(geometry, monkeypatch):
    (height, width), padded, image, output = geometry
    logits = torch.randn(5, height, width, generator=torch.Generator().manual_seed(0)) * 5
    expected = plain_resize(logits, padded, image, output)
    monkeypatch.setattr(
        postprocess.resizing, "BAND_ELEMENTS_CPU", 5 * output[1] * 7
    )  # several bands, the last one shorter
    resizer = BandResizer(logits, padded, image, output)
    for bands in (resizer._bands_by_matrix_product(), resizer._bands_by_gather()):
        found = torch.full_like(expected, torch.nan)
        for rows, band in bands:
            found[:, rows] = band
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


def blobs(count, height, width, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    centers, radii = rng.random((count, 2)) * (height, width), 1 + 0.3 * height * rng.random((count, 2)) ** 2
    logits = [8 - 8 * (((y - c[0]) / r[0]) ** 2 + ((x - c[1]) / r[1]) ** 2) for c, r in zip(centers, radii)]
    return torch.from_numpy(np.stack(logits).astype(np.float32)).clamp(-20, 20)


def test_regions_hold_every_pixel_above_the_level():
    logits = 0.3 * blobs(7, 20, 30) - 1
    logits[3] = -5  # passes nowhere
    resizer = BandResizer(logits, (80, 120), (77, 110), (301, 415))
    whole = torch.cat([band.clone() for _, band in resizer.bands()], dim=1)
    regions = resizer.regions(0.0)
    assert regions[3] is None
    for index, region in enumerate(regions):
        if region is not None:
            top, bottom, left, right = region
            outside = whole[index].clone()
            outside[top:bottom, left:right] = -1
            assert (outside <= 0).all() and left % 8 == 0
            part = torch.cat([band for _, band in resizer.bands_of(index, region)])
            torch.testing.assert_close(part, whole[index, top:bottom, left:right], atol=1e-5, rtol=0)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_logits_at_single_outputs(geometry):
    (height, width), padded, image, output = geometry
    logits = torch.randn(5, height, width, generator=torch.Generator().manual_seed(0)) * 5
    rows = torch.arange(0, output[0], max(1, output[0] // 7))
    columns = torch.arange(0, output[1], max(1, output[1] // 5))
    y, x = (places.flatten() for places in torch.meshgrid(rows, columns, indexing="ij"))
    expected = plain_resize(logits, padded, image, output)[:, y, x]
    torch.testing.assert_close(BandResizer(logits, padded, image, output).at(y, x), expected, atol=1e-4, rtol=1e-4)
