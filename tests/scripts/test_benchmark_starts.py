# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Benchmark of distillation: the teacher made of our model is that model, and means are over seeds."""

import torch

from benchmarks import distillation
from benchmarks.distillation import PLAIN, kept_run, summary, to_mask2former
from hfseg.training.quickstart import set_up


def test_a_full_model_becomes_the_same_mask2former():
    full = ["model.config.encoder=full", "model.config.encoder_layers=2", "data.num_workers=0"]
    model = set_up("proscale", None, [*PLAIN, *full]).model.eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        theirs, pixels = to_mask2former(model), torch.rand(1, 3, 64, 96)
        ours, other = model(pixels), theirs(pixels)
    torch.testing.assert_close(other.masks_queries_logits, ours.masks_queries_logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(other.class_queries_logits, ours.class_queries_logits, rtol=1e-4, atol=1e-4)


def test_means_are_over_seeds():
    runs = [{"mode": "a", "minutes": 1, "pq": value} for value in (1.0, 3.0)] + [{"mode": "b", "minutes": 1, "pq": 5.0}]
    first, second = summary(runs)
    assert (first["pq"], first["seeds"], second["pq"], second["deviation"]) == (2.0, 2, 5.0, None)


def test_a_run_is_made_once(tmp_path, monkeypatch):
    """For each mode, seed and length: a benchmark of hours goes on where it was ended."""
    made, timed = [], []

    def updates_by_mode(teacher, minutes):
        timed.append(minutes)
        return dict.fromkeys(distillation.MODES, 10 * len(timed))

    def one_run(teacher, mode, seed, minutes, updates):
        made.append((mode, seed, *minutes))
        assert updates == 10 * (1 + timed.index(minutes[-1]))
        return [{"mode": mode, "seed": seed, "minutes": minutes[0], "pq": float(len(made))}]

    monkeypatch.setattr(distillation, "one_run", one_run)
    monkeypatch.setattr(distillation, "updates_by_mode", updates_by_mode)
    mode = "warm start, labels"
    asked = [(mode, 0, 5.0, 15.0), (mode, 1, 5.0, 15.0), (mode, 0, 0.3, 0.9), ("from scratch, labels", 0, 5.0, 15.0)]
    first = [kept_run(tmp_path, mode, seed, minutes) for mode, seed, *minutes in asked]
    assert [kept_run(tmp_path, mode, seed, minutes) for mode, seed, *minutes in asked] == first
    assert made == asked and [rows[0]["pq"] for rows in first] == [1.0, 2.0, 3.0, 4.0]
    assert timed == [15.0, 0.9]  # once per length: all runs of a mode have as many updates
