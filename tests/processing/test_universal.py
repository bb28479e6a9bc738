# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Universal processing: panoptic targets, post-processing as the authors', padding by the resize rule."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from hfseg.models.proscale.image_processing_proscale import ProScaleImageProcessor
from proscale_inputs import FIXTURES, backends, photo


@backends
def test_panoptic_targets(processor_class):
    ids = np.zeros((4, 6), dtype=np.int32)
    ids[:2], ids[2:, :3], ids[2:, 3:] = 70000, 12, 5
    given = {"do_resize": False, "return_tensors": "pt"}
    masks = processor_class()(photo(4, 6), ids, {70000: 3, 5: 1}, **given)["mask_labels"][0]
    batch = processor_class()(photo(4, 6), ids, {70000: 3, 5: 1}, binary_mask_labels=False, **given)
    (id_map,), (labels,) = batch["mask_labels"], batch["class_labels"]
    assert id_map.dtype == torch.int32 and labels.dtype == torch.int64 and id_map.shape == (32, 32)
    # In order of the ids; 12 is missing from the table, so void.
    assert labels.tolist() == [1, 3]
    expected = torch.zeros(32, 32, dtype=torch.int32)
    expected[:2, :6], expected[2:4, 3:6] = 2, 1
    assert torch.equal(id_map, expected)
    assert masks.dtype == torch.bool and torch.equal(masks, torch.stack([expected == 1, expected == 2]))


def test_segments_that_vanish_in_the_resize_leave_no_gap():
    ids = np.zeros((40, 40), dtype=np.uint8)
    ids[3, 3], ids[20:] = 1, 2
    batch = ProScaleImageProcessor(size={"height": 4, "width": 4})(
        photo(40, 40), ids, {0: 0, 1: 1, 2: 2}, binary_mask_labels=False, return_tensors="pt"
    )
    assert batch["class_labels"][0].tolist() == [0, 2]
    assert batch["mask_labels"][0].unique().tolist() == [0, 1, 2]


@backends
def test_one_table_per_map_and_maps_without_segments(processor_class):
    maps = [Image.fromarray(np.full((8, 8), 1, dtype=np.uint8))] * 3
    batch = processor_class(do_resize=False)([photo(8, 8)] * 3, maps, [{1: 5}, {1: 6}, {}], return_tensors="pt")
    assert [labels.tolist() for labels in batch["class_labels"]] == [[5], [6], []]
    assert not batch["mask_labels"][2].any()


@pytest.fixture(params=["postprocess", "postprocess_full_eval"])
def outputs(request):
    folder = FIXTURES / request.param
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "inputs.safetensors")
    outputs = SimpleNamespace(class_queries_logits=tensors["pred_logits"], masks_queries_logits=tensors["pred_masks"])
    return config, outputs, load_file(folder / "outputs.safetensors"), json.loads((folder / "outputs.json").read_text())


@backends
def test_post_processing_equals_the_authors(processor_class, outputs):
    config, logits, expected, tables = outputs
    processor = processor_class(
        label_ids_to_fuse=list(range(config["num_thing_classes"], config["NUM_CLASSES"])),
        threshold=config["OBJECT_MASK_THRESHOLD"],
        overlap_mask_area_threshold=config["OVERLAP_THRESHOLD"],
        num_instances=config["DETECTIONS_PER_IMAGE"],
    )
    arguments = {"target_sizes": config["output_sizes"], "image_sizes": config["image_sizes"]}
    panoptic = processor.post_process_panoptic_segmentation(logits, **arguments)
    instance = processor.post_process_instance_segmentation(logits, **arguments)
    semantic = processor.post_process_semantic_segmentation(logits, **arguments)
    for index in range(2):
        assert (semantic[index] != expected[f"post_{index}_sem_seg_argmax"]).float().mean() <= 5e-4
        assert (panoptic[index]["segmentation"] != expected[f"post_{index}_panoptic_seg"]).float().mean() <= 5e-4
        assert [
            {"id": s["id"], "isthing": not s["was_fused"], "category_id": s["label_id"]}
            for s in panoptic[index]["segments_info"]
        ] == tables[f"post_{index}_segments_info"]
        scores = torch.tensor([s["score"] for s in instance[index]["segments_info"]])
        torch.testing.assert_close(scores, expected[f"post_{index}_instance_scores"], atol=1e-5, rtol=0)
        masks = expected[f"post_{index}_instance_masks"].bool()
        assert (instance[index].binary_masks() != masks).float().mean() <= 5e-4


def test_padding_is_found_by_the_resize_rule():
    """Left half of the image is class 0, the padding would be class 1: it must not show."""
    processor = ProScaleImageProcessor(size={"shortest_edge": 64, "longest_edge": 200})
    image = photo(48, 60)  # resized to 64 x 80, padded to 64 x 96
    assert processor(image, return_tensors="pt")["pixel_values"].shape[-2:] == (64, 96)
    mask_logits = torch.full((1, 2, 16, 24), -9.0)
    mask_logits[:, 0, :, :20], mask_logits[:, 1, :, 20:] = 9.0, 9.0
    class_logits = torch.tensor([[[9.0, 0, 0], [0, 9.0, 0]]])
    outputs = SimpleNamespace(class_queries_logits=class_logits, masks_queries_logits=mask_logits)
    (inside,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[(48, 60)])
    assert inside.shape == (48, 60) and not inside.any()
    (padded,) = processor.post_process_semantic_segmentation(outputs)
    assert padded.shape == (64, 96) and padded.any()
    # As a tensor of sizes, too; and only the crop that the resize rule gives is looked at.
    (same,) = processor.post_process_panoptic_segmentation(outputs, target_sizes=torch.tensor([[48, 60]]))
    assert [segment["label_id"] for segment in same["segments_info"]] == [0]


def test_scores_and_wrong_number_of_sizes():
    processor = ProScaleImageProcessor()
    outputs = SimpleNamespace(class_queries_logits=torch.randn(2, 5, 4), masks_queries_logits=torch.randn(2, 5, 8, 8))
    for result in processor.post_process_semantic_segmentation(outputs, return_segmentation_scores=True):
        assert result["segmentation_scores"].shape == (3, 32, 32)
        assert torch.equal(result["segmentation_scores"].argmax(0), result["segmentation"])
    for task in ("semantic", "instance", "panoptic"):
        with pytest.raises(ValueError, match="target_sizes has 1 entries for a batch of 2"):
            getattr(processor, f"post_process_{task}_segmentation")(outputs, target_sizes=[(4, 4)])
