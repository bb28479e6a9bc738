# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A tiny model folder of every architecture and task, with weights drawn so that the models find something."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedModel

import hfseg
from contract import peaked
from cris_models import tiny_config as cris_config
from lavin_dit_models import TINY as TINY_DIT
from lavin_dit_models import drawn
from meddensevit_models import tiny_config as meddensevit_config
from proscale_models import tiny_config as proscale_config
from proscale_models import tiny_open_vocabulary_config
from unisegformer_models import tiny_config as unisegformer_config
from unpairseg_inputs import tiny_tokenizer
from unpairseg_models import tiny_config as unpairseg_config
from vpnext_models import tiny_config as vpnext_config

NAMES = {"id2label": dict(enumerate(("person", "car", "tree", "sky", "road")))}
WORDS = ["the", "red", "blue", "star", "circle"]
EDGE = {"shortest_edge": 64, "longest_edge": 128}


def _model(model: PreTrainedModel) -> PreTrainedModel:
    torch.manual_seed(0)
    model = peaked(model).eval()
    for name, part in model.named_modules():
        if name.endswith("class_predictor"):
            with torch.no_grad():
                part.weight.mul_(20)
    return model


def _proscale(folder: Path) -> None:
    _model(hfseg.ProScaleForUniversalSegmentation(proscale_config(**NAMES))).save_pretrained(folder)
    hfseg.ProScaleImageProcessor(size=EDGE, threshold=0.2, overlap_mask_area_threshold=0.1).save_pretrained(folder)


def _proscale_boxes(folder: Path) -> None:
    fields = {"feature_size": 64, "encoder_stage_layers": (1, 1, 1, 1), "decoder_layers": 2}
    _model(hfseg.ProScaleForObjectDetection(proscale_config(**fields, **NAMES))).save_pretrained(folder)
    hfseg.ProScaleImageProcessor(size=EDGE).save_pretrained(folder)


def _proscale_names(folder: Path) -> None:
    _model(hfseg.ProScaleForOpenVocabularySegmentation(tiny_open_vocabulary_config())).save_pretrained(folder)
    image_processor = hfseg.ProScaleImageProcessor(size=EDGE, threshold=0.1, overlap_mask_area_threshold=0.1)
    hfseg.ProScaleProcessor(image_processor, tiny_tokenizer()).save_pretrained(folder)


def _unisegformer(folder: Path) -> None:
    _model(hfseg.UniSegFormerForUniversalSegmentation(unisegformer_config(**NAMES))).save_pretrained(folder)
    processor = hfseg.UniSegFormerImageProcessor(size=EDGE, threshold=0.2, overlap_mask_area_threshold=0.1)
    processor.save_pretrained(folder)


def _unisegformer_semantic(folder: Path) -> None:
    _model(hfseg.UniSegFormerForSemanticSegmentation(unisegformer_config(**NAMES))).save_pretrained(folder)
    hfseg.UniSegFormerImageProcessor(size=EDGE).save_pretrained(folder)


def _vpnext(folder: Path) -> None:
    _model(hfseg.VPNeXtForSemanticSegmentation(vpnext_config(**NAMES))).save_pretrained(folder)
    hfseg.VPNeXtImageProcessor(size=EDGE).save_pretrained(folder)


def _meddensevit(folder: Path) -> None:
    names = {"id2label": dict(enumerate(("background", "liver", "spleen", "kidney")))}
    _model(hfseg.MedDenseViTForSemanticSegmentation(meddensevit_config(**names))).save_pretrained(folder)
    hfseg.MedDenseViTImageProcessor(size={"height": 32, "width": 32}, modality="MR").save_pretrained(folder)


def _cris(folder: Path) -> None:
    processor = hfseg.CrisProcessor.from_words(WORDS, size={"height": 64, "width": 64})
    size = len(processor.tokenizer)
    text = {"vocab_size": size, "bos_token_id": size - 2, "eos_token_id": size - 1, "max_position_embeddings": 17}
    config = cris_config(image_size=64)
    config.text_config = type(config.text_config)(**{**config.text_config.to_dict(), **text})
    _model(hfseg.CrisForReferringImageSegmentation(config)).save_pretrained(folder)
    processor.save_pretrained(folder)


def _unpairseg_masks(folder: Path) -> None:
    _model(hfseg.UnpairSegForMaskGeneration(unpairseg_config())).save_pretrained(folder)
    hfseg.UnpairSegImageProcessor(size={"longest_edge": 64}, score_threshold=0.0).save_pretrained(folder)


def _unpairseg(folder: Path) -> None:
    config = unpairseg_config(score_threshold=0.0)
    _model(hfseg.UnpairSegForOpenVocabularySegmentation(config)).save_pretrained(folder)
    image_processor = hfseg.UnpairSegImageProcessor(size={"longest_edge": 64}, score_threshold=0.0, threshold=0.0)
    hfseg.UnpairSegProcessor(image_processor, tiny_tokenizer()).save_pretrained(folder)


def _lavin_dit(folder: Path) -> None:
    torch.manual_seed(0)
    transformer = drawn(hfseg.LavinDiTTransformer3DModel(**{**TINY_DIT, "num_layers": 1})).eval()
    vae = hfseg.PixelAutoencoder(2, sample_height=32, sample_width=32)
    hfseg.LavinDiTPipeline(transformer, vae, hfseg.LavinDiTScheduler()).save_pretrained(folder)


FOLDERS: dict[str, Callable[[Path], None]] = {
    "proscale": _proscale,
    "proscale_boxes": _proscale_boxes,
    "proscale_names": _proscale_names,
    "unisegformer": _unisegformer,
    "unisegformer_semantic": _unisegformer_semantic,
    "vpnext": _vpnext,
    "meddensevit": _meddensevit,
    "cris": _cris,
    "unpairseg_masks": _unpairseg_masks,
    "unpairseg": _unpairseg,
    "lavin_dit": _lavin_dit,
}


def model_folder(name: str, root: Path) -> Path:
    """Writes the folder of a tiny model, once."""
    folder = root / name
    if not folder.exists():
        torch.manual_seed(0)  # the same weights whichever test asks first
        FOLDERS[name](folder)
    return folder


def image(height: int = 60, width: int = 90, seed: int = 0) -> Image.Image:
    """Draws a smooth image."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def example_pairs(folder: Path, count: int = 1) -> Path:
    """Writes pairs of images for in-context models."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image(32, 32, index).save(folder / f"{index}_input.png")
        image(32, 32, index + 10).convert("L").convert("RGB").save(folder / f"{index}_target.png")
    return folder


def volume_file(path: Path, **fields: Any) -> Path:
    """Writes a NIfTI volume of 12 x 14 x 6 voxels, stored as left-posterior-superior."""
    import nibabel

    values = np.random.default_rng(0).normal(300, 80, (12, 14, 6)).clip(0).astype(np.int16)
    affine = np.diag([-1.5, -1.0, 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def labeled_volumes(root: Path, count: int = 2) -> Path:
    """Writes NIfTI pairs, images/val with labels/val, with the classes of the tiny medical model."""
    import nibabel

    rng = np.random.default_rng(0)
    for number in range(count):
        mask = np.zeros((14, 16, 5), dtype=np.uint8)
        mask[3:9, 4:12, 1:4], mask[10:13, 2:6, 2:4] = 1, 2
        values = (rng.normal(100, 5, mask.shape) + 120 * mask).astype(np.float32)
        for folder, array in (("images", values), ("labels", mask)):
            path = root / folder / "val" / f"case{number}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0])), path)
    return root
