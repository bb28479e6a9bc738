# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The card of a trained model."""

import pytest
from huggingface_hub import ModelCard

from hfseg.commands.train import main
from hfseg.training.model_card import _results, _title

SMALL = ["data.train.num_scenes=8", "data.validation.num_scenes=2", "data.batch_size=2", "data.num_workers=0"]
SMALL += ["schedule.warmup_steps=0", "run.log_every=1"]


def test_a_run_without_held_out_data_claims_nothing(tmp_path):
    changes = [*SMALL, "data.validation=null", "run.max_steps=1"]
    main(["--recipe", "proscale-tiny-shapes", "--output_dir", str(tmp_path), *changes])
    card = ModelCard.load(tmp_path / "README.md")
    assert "Not measured" in card.text and card.data.eval_results is None


@pytest.mark.parametrize(
    ("name", "words", "title"),
    [
        ("pq_things", "(things)", "pq_things (%)"),
        ("miou ordinal", "IoU of each sample; mean over samples (ordinal)", "miou ordinal (%)"),
        ("precision@0.5", "above the threshold (0.5)", "precision@0.5 (%)"),
        ("first_miou", "(first sentences)", "first_miou (%)"),
        ("first_precision@0.9", "(0.9, first sentences)", "first_precision@0.9 (%)"),
        ("num_samples", "samples", "num_samples"),
        ("first_num_samples", "samples (first sentences)", "first_num_samples"),
        ("num_without_referent", "expressions without a referent", "num_without_referent"),
        ("num_cases", "", "num_cases"),
        ("box_ap_small", "objects below 32 x 32 pixels", "box_ap_small (%)"),
        ("assd", "distance between both surfaces", "assd (mm)"),
        ("reconstruction", "", "reconstruction"),
    ],
)
def test_numbers_are_explained_and_have_their_unit(name, words, title):
    (row,) = _results({name: 12.0}, "validation", 3).splitlines()[4:]
    assert row.startswith(f"| {name} | 12 | ") and words in row and bool(words) == (not row.endswith("|  |"))
    assert _title(name) == title
