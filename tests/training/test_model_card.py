# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The card of a trained model."""

from huggingface_hub import ModelCard

from hfseg.commands.train import main

SMALL = ["data.train.num_scenes=8", "data.validation.num_scenes=2", "data.batch_size=2", "data.num_workers=0"]
SMALL += ["schedule.warmup_steps=0", "run.log_every=1"]


def test_a_run_without_held_out_data_claims_nothing(tmp_path):
    changes = [*SMALL, "data.validation=null", "run.max_steps=1"]
    main(["--recipe", "proscale-tiny-shapes", "--output_dir", str(tmp_path), *changes])
    card = ModelCard.load(tmp_path / "README.md")
    assert "Not measured" in card.text and card.data.eval_results is None
