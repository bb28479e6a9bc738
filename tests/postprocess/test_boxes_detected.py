# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Boxes are placed in the image by hand-made numbers."""

import torch

from hfseg.postprocess import detect_boxes

LOGITS = torch.tensor([[[4.0, -9.0], [-9.0, 2.0], [-9.0, -9.0]]])
BOXES = torch.tensor([[[0.25, 0.5, 0.2, 0.4], [0.9, 0.9, 0.4, 0.4], [0.5, 0.5, 0.1, 0.1]]])


def test_boxes_in_pixels_of_the_image():
    # Network input 40 x 80 (height, width), of which 30 x 60 is the image, which has 60 x 120 pixels.
    (found,) = detect_boxes(
        LOGITS, BOXES, padded_sizes=[(40, 80)], image_sizes=[(30, 60)], output_sizes=[(60, 120)], threshold=0.5
    )
    assert found["labels"].tolist() == [0, 1]
    torch.testing.assert_close(found["scores"], torch.tensor([4.0, 2.0]).sigmoid())
    # 0.15..0.35 of 80 is 12..28 of 60 columns, twice as many in the image; 0.3..0.7 of 40 is 12..28 of 30 rows.
    torch.testing.assert_close(found["boxes"][0], torch.tensor([24.0, 24.0, 56.0, 56.0]))
    # The second reaches beyond the image and is cut off.
    torch.testing.assert_close(found["boxes"][1], torch.tensor([112.0, 56.0, 120.0, 60.0]))


def test_shares_without_sizes_and_the_number_of_boxes():
    (found,) = detect_boxes(LOGITS, BOXES, padded_sizes=[(40, 80)], num_detections=1)
    torch.testing.assert_close(found["boxes"], torch.tensor([[0.15, 0.3, 0.35, 0.7]]))
    (found,) = detect_boxes(LOGITS, BOXES, padded_sizes=[(40, 80)])
    assert len(found["boxes"]) == 6 and found["scores"].tolist() == sorted(found["scores"].tolist(), reverse=True)


def test_a_score_at_the_threshold_passes():
    (found,) = detect_boxes(torch.zeros(1, 1, 1), BOXES[:, :1], padded_sizes=[(40, 80)], threshold=0.5)
    assert found["scores"].tolist() == [0.5]
