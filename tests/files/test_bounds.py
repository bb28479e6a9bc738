# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Absurd counts are refused when a configuration is built, before memory is spent."""

import time

import pytest

import hfseg
from hfseg.files.bounds import check_counts, problem_of_number

ABSURD = 10**9
CASES = [
    (hfseg.ProScaleConfig, {"num_queries": ABSURD}),
    (hfseg.ProScaleConfig, {"num_labels": ABSURD}),
    (hfseg.ProScaleConfig, {"decoder_layers": ABSURD}),
    (hfseg.ProScaleConfig, {"backbone_config": {"model_type": "swin", "depths": [ABSURD, 1, 1, 1]}}),
    (hfseg.ProScaleConfig, {"dropout": float("nan")}),
    (hfseg.ProScaleOpenVocabularyConfig, {"num_queries": ABSURD}),
    (hfseg.ProScaleOpenVocabularyConfig, {"vision_config": {"num_hidden_layers": ABSURD}}),
    (hfseg.UniSegFormerConfig, {"encoder_config": {"depths": [ABSURD, 1, 1, 1]}}),
    (hfseg.UniSegFormerConfig, {"max_queries": ABSURD}),
    (hfseg.UniSegFormerConfig, {"text_config": {"vocab_size": 10**12}}),
    (hfseg.VPNeXtConfig, {"hiclr_iterations": ABSURD}),
    (hfseg.VPNeXtConfig, {"backbone_config": {"model_type": "dinov3_vit", "num_hidden_layers": ABSURD}}),
    (hfseg.MedDenseViTConfig, {"feature_size": 10**8}),
    (hfseg.MedDenseViTConfig, {"num_labels": ABSURD}),
    (hfseg.CrisConfig, {"vision_layers": (ABSURD, 1, 1, 1)}),
    (hfseg.CrisConfig, {"text_config": {"num_hidden_layers": ABSURD}}),
    (hfseg.UnpairSegConfig, {"points_per_side": ABSURD}),
    (hfseg.UnpairSegConfig, {"region_sizes": [ABSURD]}),
    (hfseg.LavinDiTTransformer3DModel, {"num_layers": ABSURD}),
    (hfseg.LavinDiTTransformer3DModel, {"num_attention_heads": 10**7}),
    (hfseg.PixelAutoencoder, {"sample_height": ABSURD}),
    (hfseg.LavinDiTScheduler, {"num_train_timesteps": 10**11}),
]  # fmt: skip


@pytest.mark.parametrize("config_class, fields", CASES, ids=lambda value: getattr(value, "__name__", str(value))[:60])
def test_absurd_counts(config_class, fields):
    start = time.monotonic()
    name = next(iter(fields))
    with pytest.raises(ValueError, match=rf"{name}\S*=\S+ is no setting of a model: it must be"):
        config_class(**fields)
    assert time.monotonic() - start < 5


def test_the_published_variants_are_within():
    for size in ("tiny", "base", "large", "xlarge"):
        hfseg.UniSegFormerConfig.of_size(size)
    for size in ("small", "base", "large", "huge", "giant"):
        hfseg.MedDenseViTConfig.of_size(size)


def test_names_count_by_their_end():
    assert problem_of_number("decoder_layers", 256) is None and problem_of_number("decoder_layers", 257)
    assert problem_of_number("num_attention_heads", 1024) is None and problem_of_number("heads", 1025)
    assert problem_of_number("a.b.num_queries", 100_000) is None and problem_of_number("a.b.num_queries", 100_001)
    assert problem_of_number("max_position_embeddings", -2) and problem_of_number("anything", float("inf"))
    assert problem_of_number("anything", 10**12) is None and problem_of_number("anything", -(10**12) - 1)
    check_counts({"id2label": {10**13: "a"}, "flags": [True, None, "x"], "depths": [[2, 3], (4,)]})
    with pytest.raises(ValueError, match=r"vision\.depths="):
        check_counts({"depths": [[2, 3], (4000,)]}, "vision")
