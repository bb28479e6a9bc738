# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Lines whose break stayed unseen: void points in the matching, empty sides, limits that are inclusive or not."""

import numpy as np
import torch
from torchvision import tv_tensors

from hfseg.data.transforms import CategoryCappedCrop
from hfseg.inference.volumes import keep_largest_components
from hfseg.losses.mask_classification import LossWeights, matching_costs
from hfseg.losses.point_sampling import KnownPixels, Targets
from hfseg.metrics.surface_distance import SurfaceDistance
from hfseg.postprocess.panoptic import panoptic_segmentation


def test_void_points_do_not_count_in_the_matching_cost():
    generator = torch.Generator().manual_seed(0)
    void = torch.zeros(8, 8, dtype=torch.bool)
    void[:, :4] = True
    ids = torch.zeros(8, 8, dtype=torch.int64)
    ids[2:6, 2:7] = 1
    embedding, points = torch.randn(1, 3, 8, 8, generator=generator), torch.rand(1, 1, 64, 2, generator=generator)
    classes, queries = torch.zeros(1, 1, 2, 3), torch.randn(1, 1, 2, 3, generator=generator)
    known = KnownPixels([void], [ids], (8, 8))

    def costs(pixel_embedding, labels, known):
        targets, weights = Targets([labels], [1], (8, 8)), LossWeights(2.0, 5.0, 5.0, 0.1)
        return matching_costs(classes, queries, pixel_embedding, targets, [torch.tensor([0])], points, weights, known)

    other, other_ids = embedding.clone(), ids.clone()
    other[..., :4] = 9.0
    other_ids[:, :4] = 1
    torch.testing.assert_close(costs(embedding, ids, known), costs(other, other_ids, known))
    assert not torch.allclose(costs(embedding, ids, None), costs(other, other_ids, None))


def test_surface_distance_says_which_side_is_empty():
    metric = SurfaceDistance({0: "background", 1: "organ"})
    organ = np.zeros((4, 4, 4), dtype=np.int64)
    organ[1:3, 1:3, 1:3] = 1
    nothing = np.zeros_like(organ)
    for prediction, reference in ((organ, nothing), (organ, nothing), (nothing, organ), (nothing, nothing)):
        metric.add(prediction=prediction, reference=reference, spacing=(1, 1, 1))
    counts = metric.compute()["per_class"]["organ"]
    assert (counts["reference_empty"], counts["prediction_empty"], counts["both_empty"]) == (2, 1, 1)


def test_a_component_of_exactly_the_smallest_volume_stays():
    segmentation = np.zeros((9, 9, 9), dtype=np.uint8)
    segmentation[1:3, 1:3, 1:3], segmentation[5, 5, 5:8] = 1, 1
    for limit, left in ((3.0, 11), (3.001, 8), (8.0, 8), (8.001, 0)):
        assert int((keep_largest_components(segmentation.copy(), [], limit) > 0).sum()) == left


def test_capped_crops_keep_to_their_limit():
    """Most windows hold more than half of one class; of ten tries one holds less, and that one is taken."""
    torch.manual_seed(0)
    labels = torch.ones(1, 64, 64, dtype=torch.int64)
    labels[:, :, 40:] = 2
    crop = CategoryCappedCrop((16, 16), max_share=0.75)
    image, shares = tv_tensors.Image(torch.zeros(3, 64, 64, dtype=torch.uint8)), []
    for _ in range(60):
        window = crop({"image": image, "mask": tv_tensors.Mask(labels)})["mask"]
        counts = torch.bincount(window.flatten(), minlength=3)[1:]
        shares.append(float(counts.max() / counts.sum()))
    # A window at random has both classes with 15 of 49 places, and the limit holds for 7 to 8 of them.
    assert np.mean(np.array(shares) < 0.75) > 0.7


def panoptic(class_probability, threshold=0.5, overlap=0.75):
    """Two queries: one of 4 x 4 pixels, and one that covers a quarter of it with certainty."""
    probabilities = torch.tensor([[class_probability, 0.0, 1 - class_probability], [0.0, 1.0, 0.0]])
    masks = torch.full((1, 2, 4, 8), -50.0)
    masks[0, 0, :, :4], masks[0, 1, 0, :4] = 50.0, 60.0
    return panoptic_segmentation(
        probabilities.clamp(min=1e-30).log()[None], masks, threshold=threshold, overlap_mask_area_threshold=overlap
    )[0][1]


def test_a_score_of_exactly_the_threshold_is_not_enough():
    exact = float(torch.tensor([0.6, 0.0, 0.4]).clamp(min=1e-30).log().softmax(-1).max())
    assert [segment["label_id"] for segment in panoptic(0.6, threshold=exact)] == [1]
    assert [segment["label_id"] for segment in panoptic(0.6, threshold=exact - 1e-4)] == [0, 1]


def test_an_overlap_of_exactly_the_threshold_is_enough():
    """The small query wins 4 of 16 pixels, so that three quarters of the large one stay visible."""
    assert [segment["label_id"] for segment in panoptic(0.9, overlap=0.75)] == [0, 1]
    assert [segment["label_id"] for segment in panoptic(0.9, overlap=0.7501)] == [1]
