# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Post-processing against the authors' results (golden vectors) and against its plain, step-by-step form."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from hfseg import postprocess
from hfseg.postprocess.reductions import descending, first_argmax
from hfseg.postprocess.resizing import BandResizer

FIXTURES = Path(__file__).parents[1] / "fixtures" / "proscale"
LARGEST_DIFFERENT_SHARE = 0.0005


@pytest.fixture(params=["postprocess", "postprocess_full_eval"], scope="module")
def golden(request):
    folder = FIXTURES / request.param
    config = json.loads((folder / "config.json").read_text())
    inputs = load_file(folder / "inputs.safetensors")
    sizes = {name: config[name] for name in ("padded_size", "image_sizes", "output_sizes")}
    return (
        config,
        (inputs["pred_logits"], inputs["pred_masks"]),
        sizes,
        load_file(folder / "outputs.safetensors"),
        json.loads((folder / "outputs.json").read_text()),
    )


def stuff_ids(config):
    return list(range(config["num_thing_classes"], config["NUM_CLASSES"]))


def test_semantic_equals_the_authors(golden):
    _, logits, sizes, expected, _ = golden
    maps, scores = postprocess.semantic_segmentation(*logits, **sizes, return_scores=True)
    for index in range(2):
        different = maps[index] != expected[f"post_{index}_sem_seg_argmax"]
        assert different.float().mean() <= LARGEST_DIFFERENT_SHARE
        torch.testing.assert_close(scores[index][:, ::3, ::3], expected[f"post_{index}_sem_seg"], atol=1e-5, rtol=0)
        assert torch.equal(scores[index].argmax(0), maps[index])


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


def test_instances_equal_the_authors(golden):
    config, logits, sizes, expected, _ = golden
    results = postprocess.instance_segmentation(
        *logits, **sizes, num_instances=config["DETECTIONS_PER_IMAGE"], stuff_label_ids=stuff_ids(config)
    )
    for index, instances in enumerate(results):
        torch.testing.assert_close(instances.scores, expected[f"post_{index}_instance_scores"], atol=1e-5, rtol=0)
        assert torch.equal(instances.label_ids, expected[f"post_{index}_instance_classes"])
        masks = expected[f"post_{index}_instance_masks"].bool()
        assert (instances.masks() != masks).float().mean() <= LARGEST_DIFFERENT_SHARE
        assert torch.equal(instances.areas, instances.masks().flatten(1).sum(1))
        # The id map shows the best instance that covers a pixel.
        top = torch.where(masks.any(0), masks.int().argmax(0) + 1, 0)
        assert (instances.segmentation != top).float().mean() <= LARGEST_DIFFERENT_SHARE


# ---------------------------------------------------------------------------------------------- the plain form
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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_resized_in_float32(dtype):
    logits = (torch.randn(1, 6, 5) * 3, torch.randn(1, 6, 8, 8) * 3)
    halves = tuple(value.to(dtype) for value in logits)
    expected, _ = postprocess.semantic_segmentation(*(value.float() for value in halves), output_sizes=[(20, 20)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = postprocess.semantic_segmentation(*halves, output_sizes=[(20, 20)])
    assert torch.equal(found[0], expected[0])


def test_binary_segmentation_equals_its_plain_form():
    logits = torch.randn(2, 3, 8, 8) * 3
    sizes = {"padded_size": (32, 32), "image_sizes": [(32, 20), (9, 32)], "output_sizes": [(50, 31), (18, 64)]}
    masks = postprocess.binary_segmentation(logits, **sizes, mask_threshold=0.3)
    probabilities = postprocess.binary_segmentation(logits, **sizes, return_probabilities=True)
    for index in range(2):
        expected = plain_resize(logits[index], (32, 32), sizes["image_sizes"][index], sizes["output_sizes"][index])
        torch.testing.assert_close(probabilities[index], expected.sigmoid(), atol=1e-4, rtol=0)
        assert (masks[index] != (expected.sigmoid() > 0.3)).float().mean() <= LARGEST_DIFFERENT_SHARE
    assert postprocess.binary_segmentation(logits[:, 0])[0].shape == (8, 8)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 64])
def test_packed_masks_round_trip(width):
    masks = torch.rand(3, 5, width) > 0.5
    packed = postprocess.pack_masks(masks)
    assert packed.shape == (3, 5, (width + 7) // 8)
    assert torch.equal(postprocess.unpack_masks(packed, width), masks)


def test_first_argmax_takes_the_first_of_equals():
    values = torch.tensor([[0.5, 0.1], [0.5, 0.3], [0.2, 0.3]]).view(3, 1, 2)
    found = first_argmax(values, descending(3, values.device), torch.empty_like(values))
    assert found.tolist() == [[0, 1]]


def test_nan_logits_do_not_crash():
    mask_logits = torch.full((1, 2, 4, 4), torch.nan)
    ((id_map, segments),) = postprocess.panoptic_segmentation(torch.tensor([[[9.0, 0], [9.0, 0]]]), mask_logits)
    assert not id_map.any() and segments == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output_sizes": [(4, 4)]}, "output_sizes has 1 entries for a batch of 2"),
        ({"image_sizes": [(99, 4), (4, 4)]}, "exceeds the padded size"),
        ({"output_sizes": [(0, 4), (4, 4)]}, "at least"),
        ({"mask_threshold": 1.5}, "mask_threshold must lie"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        postprocess.panoptic_segmentation(torch.zeros(2, 3, 4), torch.zeros(2, 3, 8, 8), **change)
    with pytest.raises(ValueError, match="Class logits must be"):
        postprocess.semantic_segmentation(torch.zeros(2, 3, 4), torch.zeros(2, 4, 8, 8))
