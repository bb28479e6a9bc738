# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What LaVin-DiT's savings save, by closed forms; that none changes the answer; which tasks stand for `another`."""

import numpy as np
import pytest
import torch

from benchmarks import in_context
from benchmarks.in_context import HELD_OUT, LEARNT, answer_grid, other_tasks
from benchmarks.lavin_dit import sample, savings_rows
from hfseg import LavinDiTTransformer3DModel
from hfseg.data.readers.in_context import TASKS
from hfseg.training import load_recipe
from lavin_dit_models import TINY, drawn


def test_each_saving_by_closed_form():
    """0.1B at 256 x 256 with 2 pairs: D 512, 12 blocks, MLP 1344, 256 tokens per frame; two FLOP per multiply-add."""
    width, depth, mlp, frame, steps = 512, 12, 1344, 256, 19
    rows = {row["saving"].partition(" ")[2].split(",")[0]: row["TFLOP"] * 1e12 for row in savings_rows("0.1B", 256, 2)}
    condition, null = 5 * frame, 2 * frame
    assert rows["embeddings of the condition"] == pytest.approx((steps - 1) * 2 * 64 * width * (condition + null))
    per_time = 2 * (256 * width + width**2) + depth * 2 * 2 * width * 4 * width + 2 * width**2
    assert rows["modulations"] == pytest.approx(steps * per_time)  # two passes share it, and it is computed once
    unread = sum(
        2 * tokens * (2 * width**2 + 3 * width * mlp) + 4 * tokens * (tokens + frame) * width
        for tokens in (condition, null)
    )
    assert rows["unread half of the last block"] == pytest.approx(steps * unread)
    # A pass: embeddings, projections and MLPs of all tokens, attention over all pairs of tokens, times, output.
    tokens = null + frame
    linear = 2 * tokens * (64 * width + depth * (4 * width**2 + 3 * width * mlp)) + 2 * frame * 64 * width
    attention = depth * 4 * tokens**2 * width
    assert rows["pass without examples"] == pytest.approx(steps * (linear + attention + per_time))


@pytest.mark.parametrize("saving", ["embed_once", "modulate_once", "skip_last"])
def test_no_saving_changes_the_answer(saving):
    torch.manual_seed(0)
    model = drawn(LavinDiTTransformer3DModel(**TINY)).eval().requires_grad_(False)
    condition, noise = torch.randn(1, 12, 5, 8, 8), torch.randn(1, 12, 1, 8, 8)
    nothing = {"embed_once": False, "modulate_once": False, "skip_last": False}
    plain = sample(model, condition, noise, 6, **nothing)
    saved = sample(model, condition, noise, 6, **{**nothing, saving: True})
    torch.testing.assert_close(saved, plain, atol=1e-5, rtol=0)
    assert plain.std() > 0.1
    at_one = sample(model, condition, noise, 6, guidance=1.0)
    both = sample(model, condition, noise, 6, guidance=1.0 + 1e-7)  # computes the pass without examples too
    torch.testing.assert_close(at_one, both, atol=1e-5, rtol=0)


def test_another_task_is_chosen_by_rule():
    recipe = load_recipe("lavin-dit-tiny-shapes")
    assert tuple(recipe.data.train["tasks"]) == LEARNT and not set(HELD_OUT) & set(LEARNT)
    for name in (*LEARNT, *HELD_OUT):
        formats = {TASKS[other].target_format for other in other_tasks(name)}
        trained = {TASKS[other].target_format for other in LEARNT}
        assert formats == trained - {TASKS[name].target_format}


def test_grid_names_its_columns_in_the_order_of_the_row(monkeypatch):
    """Example's input and target, query, the answers with the right example, another task's and none, target."""
    drawn = {}
    monkeypatch.setattr(in_context, "image_grid", lambda cells, columns, titles: drawn.update(zip(titles, cells)))
    row = [np.full((2, 3, 3), value, dtype=np.uint8) for value in range(7)]
    answer_grid(["depth_estimation"], [row])
    shades = {title: cell.getpixel((5, 3))[0] for title, cell in drawn.items()}
    names = ["depth", "its target", "query", "right example", "another task", "no example", "target"]
    assert shades == dict(zip(names, range(7)))
