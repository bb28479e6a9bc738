# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The pipeline `mask-generation`."""

import pytest
from transformers import pipeline

from unpairseg_inputs import photo


def test_mask_generation_pipeline(folders, tmp_path):
    pipe = pipeline("mask-generation", model=str(folders / "masks"))
    assert type(pipe).__name__ == "HfsegMaskGenerationPipeline"
    image = photo(30, 60)
    result = pipe(image, output_rle_mask=True)
    assert result["masks"] and all(mask.shape == (30, 60) and mask.dtype == bool for mask in result["masks"])
    assert len(result["rle_mask"]) == len(result["masks"]) == len(result["scores"])
    assert result["scores"].tolist() == sorted(result["scores"].tolist(), reverse=True)
    chunked = pipe(image, points_per_batch=3)
    assert [mask.sum() for mask in chunked["masks"]] == [mask.sum() for mask in result["masks"]]
    assert pipe(image, score_threshold=1.1)["masks"] == []
    points = pipe(image, input_points=[[10, 10], [50, 20]])
    assert [mask.shape for mask in points["masks"]] == [(30, 60)] * 2 and points["scores"].shape == (2,)
    assert [mask.shape for mask in pipe(image, input_boxes=[[0, 0, 20, 20]])["masks"]] == [(30, 60)]
    for size in ((1, 1), (12000, 20)):
        extreme = pipe(photo(*size))
        assert extreme["masks"] and all(mask.shape == size for mask in extreme["masks"])
    image.save(tmp_path / "image.png")
    both = pipe([str(tmp_path / "image.png"), photo(40, 20)])
    assert [mask.shape for result in both for mask in result["masks"][:1]] == [(30, 60), (40, 20)]
    for wrong, message in (({"points_per_side": 0}, "1 or more"), ({"pionts": 1}, "Unknown argument")):
        with pytest.raises(ValueError, match=message):
            pipe(image, **wrong)
