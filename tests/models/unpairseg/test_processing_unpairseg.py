# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Unpair-Seg: images, prompts, names and results; the authors' numbers, both backends, bad input, pipelines."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import AutoImageProcessor, AutoProcessor, CLIPTokenizer, pipeline

from golden import read_case
from hfseg import (
    UnpairSegForMaskGeneration,
    UnpairSegForOpenVocabularySegmentation,
    UnpairSegImageProcessor,
    UnpairSegImageProcessorPil,
    UnpairSegProcessor,
)
from hfseg.models.unpairseg.processing_unpairseg import Vocabulary, clean_text, templates_of
from hfseg.models.unpairseg.prompt_templates import TEMPLATES
from hfseg.postprocess import clean_small_regions, mask_nms, mask_stability
from hfseg.postprocess.resizing import BandResizer
from models.unpairseg.test_modeling_unpairseg import tiny_config

PROCESSORS = [UnpairSegImageProcessor, UnpairSegImageProcessorPil]


def photo(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def tiny_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer with the letters only."""
    letters = "abcdefghijklmnopqrstuvwxyz.,"
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {word: index for index, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=8, unk_token="<|endoftext|>")


# The authors' numbers.


@pytest.mark.parametrize("name", ["landscape_down", "portrait_up"])
def test_golden_pixels(name):
    case = read_case("unpairseg/open_vocab_parts")
    image = Image.fromarray(case.inputs[f"preprocess.{name}.hwc_uint8"].numpy())
    expected = case.outputs[f"preprocess.{name}.chw_uint8"]
    inputs = UnpairSegImageProcessorPil(size={"longest_edge": 128})(image, return_tensors="pt")
    mean, std = (torch.tensor(case.config["MODEL"][f"PIXEL_{what}"]).view(3, 1, 1) for what in ("MEAN", "STD"))
    assert torch.equal((inputs["pixel_values"][0] * std + mean).round().to(torch.uint8), expected)
    subsampled = case.outputs[f"preprocess.{name}.pixel_values"]
    torch.testing.assert_close(inputs["pixel_values"][0, :, ::8, ::8], subsampled, rtol=0, atol=1e-5)
    other = UnpairSegImageProcessor(size={"longest_edge": 128})(image, return_tensors="pt")["pixel_values"]
    assert (other - inputs["pixel_values"]).abs().max() < 1.6 / 65  # within one gray level
    assert inputs["original_sizes"].tolist() == [[image.height, image.width]]


def test_golden_masks():
    case = read_case("unpairseg/open_vocab_parts")
    logits, scores, expected = case.inputs["nms.mask_logits"], case.inputs["nms.scores"], case.outputs
    assert mask_nms(logits > 0, scores).tolist() == expected["nms.inner_0.5_0.7"].tolist()
    assert mask_nms(logits > 0, scores, 0.5, rule="iou").tolist() == expected["nms.plain_0.5"].tolist()
    half = F.interpolate(logits[None], scale_factor=0.5, mode="bilinear", align_corners=False)[0]
    assert mask_nms(half > 0, scores, 0.75, 0.9).tolist() == expected["nms.inner_0.75_0.9_half"].tolist()
    torch.testing.assert_close(mask_stability(logits), expected["stability_0.5_0.1"], equal_nan=True)
    cleaned = clean_small_regions(case.inputs["small_regions.masks"].numpy() > 0, 15)
    assert np.array_equal(cleaned, expected["small_regions.result_area15"].numpy() > 0)
    # From a square back to an image of 40 x 60: a square of 60, of which the top 40 rows are the image.
    square = expected["post.square_to_40x60"]
    rows = list(BandResizer(logits[: len(square)], (48, 48), (48, 48), (40, 60), (60, 60)).bands())
    torch.testing.assert_close(torch.cat([band.clone() for _, band in rows], dim=1), square, rtol=1e-4, atol=1e-3)


# Prompts.


@pytest.mark.parametrize("cls", PROCESSORS)
def test_prompts_follow_the_image(cls, tmp_path):
    processor = cls(size={"longest_edge": 64})
    images = [photo(30, 60), photo(120, 40)]
    inputs = processor(images, input_points=[[[30, 15]], [[20, 60]]], return_tensors="pt")
    assert inputs["pixel_values"].shape == (2, 3, 64, 64)
    assert inputs["original_sizes"].tolist() == [[30, 60], [120, 40]]
    assert inputs["input_points"].shape == (2, 1, 1, 2)
    np.testing.assert_allclose(inputs["input_points"][:, 0, 0], [[32, 16], [20 * 21 / 40, 32]], rtol=1e-6)
    boxes = processor(images[0], input_boxes=[[0, 0, 60, 30], [-5, 10, 30, 99]], return_tensors="pt")["input_boxes"]
    np.testing.assert_allclose(boxes[0], [[0, 0, 64, 32], [0, 32 / 3, 32, 32]], rtol=1e-6)
    several = processor(images[0], input_points=[[[[1, 1], [2, 2]]]], input_labels=[[[1, 0]]], return_tensors="np")
    assert several["input_points"].shape == (1, 1, 2, 2) and several["input_labels"].tolist() == [[[1, 0]]]
    processor.save_pretrained(tmp_path)
    again = AutoImageProcessor.from_pretrained(tmp_path, backend="pil" if "Pil" in cls.__name__ else "torchvision")
    assert type(again) is cls and again.to_dict() == processor.to_dict()


def test_masks_without_names():
    label_map = np.zeros((30, 60), dtype=np.uint8)
    label_map[:10], label_map[20:] = 3, 255
    inputs = UnpairSegImageProcessor(size={"longest_edge": 64})(photo(30, 60), label_map, return_tensors="pt")
    (ids,) = inputs["mask_labels"]
    assert ids.shape == (64, 64) and ids.unique().tolist() == [0, 1] and "class_labels" not in inputs


@pytest.mark.parametrize("cls", PROCESSORS)
@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"input_points": [[70, 5]]}, r"Point \[70.0, 5.0\] is outside image 0: must be x in 0..60 and y in 0..30"),
        ({"input_points": [[float("nan"), 5]]}, "not finite"),
        ({"input_points": []}, "input_points"),
        ({"input_points": [[1, 2, 3]]}, "must hold 2 numbers"),
        ({"input_labels": [[1]]}, "without input_points"),
        ({"input_points": [[5, 5]], "input_labels": [[2]]}, "1 .on the object. or 0"),
        ({"input_boxes": [[10, 10, 5, 20]]}, "has no area inside image 0"),
        ({"input_boxes": [[70, 0, 90, 20]]}, "has no area inside image 0"),
        ({"input_points": [[5, 5]], "input_boxes": [[1, 1, 5, 5]]}, "not both"),
        ({"input_points": [[[1, 2]], [[1, 2], [3, 4]]]}, "cannot be stacked"),
    ],
    ids=str,
)
def test_bad_prompts(cls, prompts, message):
    with pytest.raises(ValueError, match=message):
        cls(size={"longest_edge": 64})(photo(30, 60), return_tensors="pt", **prompts)


@pytest.mark.parametrize("size", [(1, 1), (12000, 20), (20, 12000), (33, 500)])
def test_extreme_images_come_back_in_their_size(size):
    processor = UnpairSegImageProcessor(size={"longest_edge": 64})
    inputs = processor(photo(*size), return_tensors="pt")
    assert inputs["pixel_values"].shape == (1, 3, 64, 64)
    masks = processor.post_process_masks(torch.ones(1, 2, 4, 16, 16), inputs["original_sizes"])[0]
    assert masks.shape == (2, 4, *size) and masks.all()


# Results.


def outputs(scores, num_classes=3, batch_size=1):
    """Masks that are the left, the right and the whole half of a 64 x 64 input, with class 0, 1 and 2."""
    logits = torch.full((batch_size, 3, 16, 16), -8.0)
    logits[:, 0, :, :8] = logits[:, 1, :, 8:] = logits[:, 2] = 8.0
    classes = 20 * torch.eye(3)[:, :num_classes].expand(batch_size, -1, -1)
    scores = torch.tensor(scores).expand(batch_size, -1)
    return OutputDict(masks_queries_logits=logits, class_queries_logits=classes, iou_scores=scores)


class OutputDict(SimpleNamespace):
    def get(self, name):
        return getattr(self, name, None)


def test_open_vocabulary_results():
    processor = UnpairSegImageProcessor(size={"longest_edge": 64})
    result = outputs([0.9, 0.8, 0.1])
    semantic = processor.post_process_semantic_segmentation(result, target_sizes=[(32, 64)])[0]
    assert semantic.shape == (32, 64) and (semantic[:, :30] == 0).all() and (semantic[:, 34:] == 1).all()
    panoptic = processor.post_process_panoptic_segmentation(result, target_sizes=[(32, 64)])[0]
    assert [s["label_id"] for s in panoptic["segments_info"]] == [0, 1]
    assert panoptic["segments_info"][0]["score"] == pytest.approx(0.9, abs=1e-3)
    instances = processor.post_process_instance_segmentation(result, target_sizes=[(32, 64)])[0]
    assert [s["label_id"] for s in instances["segments_info"]] == [0, 1]
    assert instances.binary_masks().shape == (2, 32, 64)
    # The whole image comes first: it covers the halves, which are removed.
    covering = processor.post_process_instance_segmentation(outputs([0.7, 0.8, 0.95]), target_sizes=[(32, 64)])[0]
    assert [s["label_id"] for s in covering["segments_info"]] == [2]
    only_iou = processor.post_process_instance_segmentation(
        outputs([0.7, 0.8, 0.95]), target_sizes=[(32, 64)], nms_rule="iou", iou_threshold=0.6
    )[0]
    assert len(only_iou["segments_info"]) == 3


def test_nothing_survives():
    processor = UnpairSegImageProcessor(size={"longest_edge": 64})
    result = outputs([0.1, 0.2, 0.3], batch_size=2)
    sizes = [(32, 64), (20, 20)]
    for index, size in enumerate(sizes):
        generated = processor.post_process_mask_generation(result, sizes)[index]
        assert generated["masks"].shape == (0, *size) and not len(generated["scores"])
        assert (processor.post_process_semantic_segmentation(result, target_sizes=sizes)[index] == 255).all()
        for task in ("panoptic", "instance"):
            found = getattr(processor, f"post_process_{task}_segmentation")(result, target_sizes=sizes)[index]
            assert found["segmentation"].shape == size and found["segments_info"] == []
    with pytest.raises(ValueError, match="2 images"):
        processor.post_process_mask_generation(result, [(32, 64)])


def test_masks_are_made_for_survivors_only():
    processor = UnpairSegImageProcessor(size={"longest_edge": 64})
    pixels, embeddings = torch.randn(1, 8, 16, 16), torch.randn(1, 5, 4, 8)
    scores = torch.rand(1, 5, 4)
    lazy = OutputDict(pixel_embedding=pixels, mask_embeddings=embeddings, iou_scores=scores, pred_masks=None)
    full = OutputDict(iou_scores=scores, pred_masks=torch.einsum("bqmc,bchw->bqmhw", embeddings, pixels))
    for options in ({}, {"stability_threshold": 0.5}, {"min_area": 20}, {"nms_rule": "and"}):
        first, second = (
            processor.post_process_mask_generation(o, [(40, 64)], score_threshold=0.4, **options)[0]
            for o in (lazy, full)
        )
        assert first["indices"].tolist() == second["indices"].tolist() and len(first["indices"])
        assert (first["masks"] != second["masks"]).float().mean() < 1e-3
    with pytest.raises(ValueError, match="NMS rule 'nms' is unknown"):
        processor.post_process_mask_generation(full, [(40, 64)], nms_rule="nms")


# Names.


def test_templates():
    assert [len(TEMPLATES[name]) for name in ("simple", "vild", "imagenet", "imagenet_vild")] == [5, 14, 80, 94]
    assert len(set(TEMPLATES["imagenet"])) == 80
    assert "a photo of a medium {}." in TEMPLATES["vild"] and "itap of my {}." in TEMPLATES["imagenet"]
    assert templates_of(["the {}"]) == ("the {}",)
    for wrong in ("clip", ["no place"], []):
        with pytest.raises(ValueError, match="emplates"):
            templates_of(wrong)


def test_vocabularies():
    assert Vocabulary.read(["car", "person, pedestrian"]).names == (("car",), ("person", "pedestrian"))
    assert Vocabulary.read({"vehicle": ["car", "bus"], "road": []}).names == (("car", "bus"), ("road",))
    for wrong, message in (([], "is empty"), ({}, "is empty"), (["a", " a"], "twice"), (["a", " "], "position 1")):
        with pytest.raises(ValueError, match=message):
            Vocabulary.read(wrong)
    assert clean_text("  fish &amp;amp; chips \n") == "fish & chips"


def test_synonyms_are_averaged_over_templates_and_kept_apart():
    processor = UnpairSegProcessor(UnpairSegImageProcessor(size={"longest_edge": 64}), tiny_tokenizer())
    torch.manual_seed(0)
    model = UnpairSegForOpenVocabularySegmentation(tiny_config()).eval()
    _, embeddings = processor.embed_labels(model, {"one": ["a", "b"], "two": ["c"]}, ["{}", "the {}"])
    assert embeddings.shape == (2, 2, 20)
    assert torch.equal(embeddings[1, 0], embeddings[1, 1])  # repeated
    tokens = processor.tokenizer(["a", "the a"], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = F.normalize(F.normalize(model.get_text_features(tokens["input_ids"]), dim=-1).mean(0), dim=-1)
    torch.testing.assert_close(embeddings[0, 0], expected, rtol=1e-5, atol=1e-5)


# Pipelines.


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    torch.manual_seed(0)
    config = tiny_config(points_per_side=4)
    image_processor = UnpairSegImageProcessor(size={"longest_edge": 64}, score_threshold=0.0, threshold=0.0)
    UnpairSegForMaskGeneration(config).save_pretrained(root / "masks")
    image_processor.save_pretrained(root / "masks")
    UnpairSegForOpenVocabularySegmentation(config).save_pretrained(root / "open")
    UnpairSegProcessor(image_processor, tiny_tokenizer()).save_pretrained(root / "open")
    return root


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


def test_open_vocabulary_pipeline(folders, monkeypatch):
    pipe = pipeline("open-vocabulary-segmentation", model=str(folders / "open"))
    assert isinstance(AutoProcessor.from_pretrained(folders / "open"), UnpairSegProcessor)
    image, labels = photo(30, 60), ["cat", "dog, hound", "sky"]
    embedded = []
    embed = pipe.model.get_text_features
    monkeypatch.setattr(pipe.model, "get_text_features", lambda *a: embedded.append(1) or embed(*a))
    for subtask in ("semantic", "panoptic", "instance"):
        found = pipe(image, candidate_labels=labels, subtask=subtask)
        assert found and {entry["label"] for entry in found} <= {"cat", "dog", "sky"}
        assert all(entry["mask"].size == (60, 30) for entry in found)
    assert len(embedded) == 1, "texts are embedded once for all images"
    pipe(image, candidate_labels=labels, templates="simple")
    assert len(embedded) == 2
    both = pipe([image, photo(20, 20)], candidate_labels={"animal": ["cat", "dog"], "sky": []}, subtask="semantic")
    assert [entry["mask"].size for result in both for entry in result[:1]] == [(60, 30), (20, 20)]
    assert pipe(image, candidate_labels=labels, score_threshold=1.1) == []
    stuff = pipe(image, candidate_labels=labels, stuff_labels=["cat", "dog", "sky"])
    assert len({entry["label"] for entry in stuff}) == len(stuff)
    for wrong, message in (
        ({}, "candidate_labels is missing"),
        ({"candidate_labels": []}, "is empty"),
        ({"candidate_labels": ["a", "a"]}, "twice"),
        ({"candidate_labels": ["a"], "subtask": "depth"}, "choose one of panoptic"),
        ({"candidate_labels": ["a"], "templates": "x"}, "not known"),
        ({"candidate_labels": ["a"], "stuff_labels": ["b"]}, "lacks"),
    ):
        with pytest.raises(ValueError, match=message):
            pipe(image, **wrong)
