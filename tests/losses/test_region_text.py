# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Matching of masks with entities: the authors' assignments and losses, options, and what must not count."""

import pytest
import run_greedy_matching
import torch
import torch.nn.functional as F

from forked_launch import forked_launch
from golden import read_case
from hfseg.losses.region_text import alignment_loss, match_regions, region_probabilities


def aligned(case, cost, embeddings, **options):
    """Loss over both images of the golden case."""
    described, texts, pairs = [], [], []
    for image in range(2):
        pairs.append(match_regions(embeddings(image), case.inputs[f"align.text.{image}"], 4.0, cost=cost, **options))
        described.append(case.inputs[f"align.adapter.{image}"][pairs[-1].regions])
        texts.append(case.inputs[f"align.text.{image}"][pairs[-1].entities])
    return alignment_loss(torch.cat(described), torch.cat(texts)), pairs


def test_golden_bipartite_with_self_ensemble():
    case = read_case("unpairseg/open_vocab_parts")
    loss, texts = [], []
    for image in range(2):
        pairs = match_regions(
            case.inputs[f"align.clip.{image}"][None],
            case.inputs[f"align.text.{image}"],
            case.inputs["align.logit_scale"],
            adapted=case.inputs[f"align.adapter_target.{image}"],
            state=torch.tensor([0.0, 40.0]),
            total_steps=100,
        )
        assert pairs.regions.tolist() == case.outputs[f"align.rows.{image}"].tolist()
        assert pairs.entities.tolist() == case.outputs[f"align.cols.{image}"].tolist()
        loss.append(case.inputs[f"align.adapter.{image}"][pairs.regions])
        texts.append(case.inputs[f"align.text.{image}"][pairs.entities])
    value = alignment_loss(torch.cat(loss), torch.cat(texts))
    torch.testing.assert_close(value, case.outputs["align.loss_step40_of_100"][0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("sigmas", [1, 2])
def test_golden_greedy(sigmas):
    case, state = read_case("unpairseg/open_vocab_parts"), torch.zeros(2)
    pairs = match_regions(
        case.inputs["align.clip.0"][None],
        case.inputs["align.text.0"],
        4.0,
        matching="greedy",
        num_sigmas=sigmas,
        state=state,
    )
    assert pairs.regions.tolist() == case.outputs[f"align.greedy{sigmas}.rows"].tolist()
    assert pairs.entities.tolist() == case.outputs[f"align.greedy{sigmas}.cols"].tolist()
    torch.testing.assert_close(state[0], case.outputs[f"align.greedy{sigmas}.threshold"][0], rtol=0, atol=1e-5)
    # The second image moves the threshold by a thousandth.
    first = state[0].clone()
    match_regions(case.inputs["align.clip.1"][None], case.inputs["align.text.1"], 4.0, matching="greedy", state=state)
    assert 0 < (state[0] - first).abs() < 2e-3


@pytest.mark.parametrize(("topk", "name"), [(1.0, "legacy_loss"), (0.5, "legacy_loss_top50pct")])
def test_golden_legacy(topk, name):
    case = read_case("unpairseg/open_vocab_parts")
    loss, _ = aligned(case, "legacy", lambda image: case.inputs[f"align.clip_3scales.{image}"], topk=topk)
    torch.testing.assert_close(loss, case.outputs[f"align.{name}"][0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("cost", ["neg_softmax", "eq36", "cosine", "legacy"])
@pytest.mark.parametrize("matching", ["bipartite", "greedy"])
def test_clear_cases_are_matched_by_every_rule(cost, matching):
    entities = torch.eye(4, 6)
    order = torch.tensor([2, 0, 3, 1])
    regions = torch.stack([entities[order] * 3, entities[order] * 5])
    pairs = match_regions(regions, entities, 50.0, cost=cost, matching=matching, num_sigmas=5.0)
    assert pairs.regions.tolist() == [0, 1, 2, 3] and pairs.entities.tolist() == order.tolist()


def test_lost_masks_and_missing_entities_are_left_out():
    entities, regions = torch.eye(3), torch.eye(3)[None].clone()
    regions[0, 1] = 0
    pairs = match_regions(regions, entities, 10.0)
    assert pairs.regions.tolist() == [0, 2] and pairs.entities.tolist() == [0, 2]
    for empty in (
        match_regions(regions, torch.zeros(0, 3), 10.0),
        match_regions(torch.zeros(1, 0, 3), entities, 10.0),
        match_regions(torch.zeros(1, 2, 3), entities, 10.0, matching="greedy"),
    ):
        assert not len(empty.regions) and not len(empty.entities)
    alone = match_regions(torch.ones(1, 1, 3), entities, 10.0, matching="greedy")
    assert alone.regions.tolist() == [0]  # a single mask is kept
    assert match_regions(-torch.eye(3)[None], entities, 10.0, min_similarity=0.5).regions.numel() == 0


def test_scales_are_averaged_as_printed_or_normalized():
    regions = torch.stack([torch.tensor([[10.0, 0.0]]), torch.tensor([[0.0, 1.0]])])
    entities = torch.eye(2)
    printed, _ = region_probabilities(regions, entities, 1.0)
    torch.testing.assert_close(printed, F.normalize(torch.tensor([[10.0, 1.0]]), dim=-1))
    normalized, _ = region_probabilities(regions, entities, 1.0, normalize_scales=True)
    torch.testing.assert_close(normalized, torch.full((1, 2), 0.5**0.5))


def test_loss_without_pairs_has_a_gradient_of_zero():
    weight = torch.ones(3, requires_grad=True)
    loss = alignment_loss(torch.zeros(0, 4), torch.zeros(0, 4), [weight])
    loss.backward()
    assert loss == 0 and weight.grad.tolist() == [0, 0, 0]


def test_unknown_rules():
    with pytest.raises(ValueError, match="choose one of bipartite, greedy"):
        match_regions(torch.ones(1, 1, 2), torch.eye(2), 1.0, matching="optimal")
    with pytest.raises(ValueError, match="choose one of neg_softmax"):
        match_regions(torch.ones(1, 1, 2), torch.eye(2), 1.0, cost="l2")


def test_greedy_matching_on_two_processes_of_different_images(tmp_path):
    """Images with 0, 1 and 3 masks meet: no process waits for another forever, and both hold one threshold."""
    ranks = forked_launch(lambda rank: run_greedy_matching.main(str(tmp_path)), tmp_path)
    assert [rank.code for rank in ranks] == [0, 0], [rank.err[-2000:] for rank in ranks]
    assert (tmp_path / "done0").exists() and (tmp_path / "done1").exists()
