# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Panoptic segmentation: the authors' results, and its plain form, query by query."""

import pytest
import torch
import torch.nn.functional as F

from hfseg import postprocess

LARGEST_DIFFERENT_SHARE = 0.0005


def stuff_ids(config):
    return list(range(config["num_thing_classes"], config["NUM_CLASSES"]))


def test_panoptic_equals_the_authors(golden):
    config, logits, sizes, expected, tables = golden
    results = postprocess.panoptic_segmentation(
        *logits,
        **sizes,
        threshold=config["OBJECT_MASK_THRESHOLD"],
        overlap_mask_area_threshold=config["OVERLAP_THRESHOLD"],
        label_ids_to_fuse=stuff_ids(config),
    )
    for index, (id_map, segments) in enumerate(results):
        assert id_map.dtype == torch.int32
        different = id_map != expected[f"post_{index}_panoptic_seg"]
        assert different.float().mean() <= LARGEST_DIFFERENT_SHARE
        found = [{"id": s["id"], "isthing": not s["was_fused"], "category_id": s["label_id"]} for s in segments]
        assert found == tables[f"post_{index}_segments_info"]
        assert [s["area"] for s in segments] == [int((id_map == s["id"]).sum()) for s in segments]


def plain_resize(logits, padded, image, output):
    logits = F.interpolate(logits[None], size=padded, mode="bilinear", align_corners=False)
    logits = logits[..., : image[0], : image[1]]
    return F.interpolate(logits, size=output, mode="bilinear", align_corners=False)[0]


def plain_panoptic(class_logits, mask_logits, padded, image, output, threshold, overlap, stuff):
    """One query after the other, as published."""
    scores, labels = class_logits.softmax(-1).max(-1)
    keep = (labels != class_logits.shape[-1] - 1) & (scores > threshold)
    scores, labels = scores[keep], labels[keep]
    id_map, segments, founders = torch.zeros(output, dtype=torch.int32), [], {}
    if len(scores) == 0:
        return id_map, segments
    probabilities = plain_resize(mask_logits, padded, image, output)[keep].sigmoid()
    winner = (scores[:, None, None] * probabilities).argmax(0)
    for query in range(len(scores)):
        label = int(labels[query])
        won, own = winner == query, probabilities[query] >= 0.5
        painted = won & own
        if not (won.any() and own.any() and painted.any()) or int(won.sum()) / int(own.sum()) < overlap:
            continue
        if label in stuff and label in founders:
            id_map[painted] = founders[label]
            continue
        segments.append({"id": len(segments) + 1, "label_id": label})
        id_map[painted] = len(segments)
        founders[label] = len(segments)
    return id_map, segments


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("band_elements", [1, 1 << 20])
def test_panoptic_equals_its_plain_form(seed, band_elements, monkeypatch):
    monkeypatch.setattr(postprocess.resizing, "BAND_ELEMENTS_CPU", band_elements)
    generator = torch.Generator().manual_seed(seed)
    num_queries, num_labels = 20, 5
    class_logits = torch.randn(1, num_queries, num_labels + 1, generator=generator) * 4
    coarse = torch.randn(1, num_queries, 5, 6, generator=generator) * 8 - 4
    mask_logits = F.interpolate(coarse, size=(16, 24), mode="bicubic")
    padded, image, output, stuff = (64, 96), (60, 91), (45, 70), {0, 3}
    expected_map, expected_segments = plain_panoptic(
        class_logits[0], mask_logits[0], padded, image, output, 0.5, 0.4, stuff
    )
    ((id_map, segments),) = postprocess.panoptic_segmentation(
        class_logits,
        mask_logits,
        padded_size=padded,
        image_sizes=[image],
        output_sizes=[output],
        threshold=0.5,
        overlap_mask_area_threshold=0.4,
        label_ids_to_fuse=stuff,
    )
    assert len(expected_segments) >= 2  # the case is worth something
    assert [{"id": s["id"], "label_id": s["label_id"]} for s in segments] == expected_segments
    assert int((id_map != expected_map).sum()) <= 1


def test_fused_segments_do_not_disturb_later_ids():
    """Stuff, thing, stuff, thing: transformers' Mask2Former gives the ids 1, 2, 1, 2 here."""
    mask_logits = torch.full((1, 4, 4, 8), -9.0)
    for query in range(4):
        mask_logits[0, query, :, 2 * query : 2 * query + 2] = 9.0
    class_logits = torch.full((1, 4, 4), -9.0)
    class_logits[0, torch.arange(4), torch.tensor([2, 0, 2, 1])] = 9.0
    ((id_map, segments),) = postprocess.panoptic_segmentation(class_logits, mask_logits, label_ids_to_fuse=[2])
    assert [(s["id"], s["label_id"], s["was_fused"], s["area"]) for s in segments] == [
        (1, 2, True, 16),
        (2, 0, False, 8),
        (3, 1, False, 8),
    ]
    assert id_map[0].tolist() == [1, 1, 2, 2, 1, 1, 3, 3]


def test_pixels_below_the_mask_threshold_stay_void():
    class_logits = torch.tensor([[[9.0, -9.0]]])
    mask_logits = torch.tensor([[[[4.0, 0.0, -0.1, -4.0]]]])
    ((id_map, _),) = postprocess.panoptic_segmentation(class_logits, mask_logits)
    assert id_map.tolist() == [[1, 1, 0, 0]]  # 0.5 is inside
    ((id_map, _),) = postprocess.panoptic_segmentation(class_logits, mask_logits, mask_threshold=0.0)
    assert id_map.tolist() == [[1, 1, 1, 1]]


def test_nothing_found_gives_an_integer_map_of_void():
    class_logits = torch.tensor([[[-9.0, 9.0]]]).expand(2, 3, 2)
    results = postprocess.panoptic_segmentation(class_logits, torch.randn(2, 3, 4, 4), output_sizes=[(5, 6), (7, 8)])
    for (id_map, segments), size in zip(results, [(5, 6), (7, 8)]):
        assert id_map.shape == size and id_map.dtype == torch.int32 and not id_map.any() and segments == []


def test_batch_equals_single_images():
    generator = torch.Generator().manual_seed(3)
    class_logits = torch.randn(3, 12, 4, generator=generator) * 5
    mask_logits = torch.randn(3, 12, 8, 8, generator=generator) * 5
    sizes = {"image_sizes": [(32, 30), (20, 32), (7, 7)], "output_sizes": [(64, 60), (10, 16), (7, 7)]}
    together = postprocess.panoptic_segmentation(
        class_logits, mask_logits, padded_size=(32, 32), threshold=0.4, **sizes
    )
    for index in range(3):
        single_sizes = {name: value[index : index + 1] for name, value in sizes.items()}
        ((id_map, segments),) = postprocess.panoptic_segmentation(
            class_logits[index : index + 1],
            mask_logits[index : index + 1],
            padded_size=(32, 32),
            threshold=0.4,
            **single_sizes,
        )
        assert torch.equal(id_map, together[index][0]) and segments == together[index][1]


def test_nan_logits_do_not_crash():
    mask_logits = torch.full((1, 2, 4, 4), torch.nan)
    ((id_map, segments),) = postprocess.panoptic_segmentation(torch.tensor([[[9.0, 0], [9.0, 0]]]), mask_logits)
    assert not id_map.any() and segments == []
