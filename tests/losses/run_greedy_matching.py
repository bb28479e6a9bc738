# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Two processes whose images have 3, 1 and 0 masks: greedy matching ends, and all have one threshold, in training."""

import torch
from torch import distributed

from hfseg.losses.region_text import match_regions

# Masks of the first, second, third image on each process: every pair of 0, 1 and 3 that can meet.
MASKS = ((3, 1, 0, 3, 1, 3), (3, 3, 3, 0, 1, 1))


def surprise_threshold(regions: torch.Tensor, entities: torch.Tensor) -> torch.Tensor:
    """Mean plus one deviation of -log P of the best entity, by hand."""
    cosine = torch.nn.functional.normalize(regions.mean(0), dim=-1) @ entities.t()
    surprise = -((10 * cosine).softmax(-1).max(-1).values + 1e-8).log()
    return surprise.mean() + surprise.std()


def main(folder: str) -> None:
    """Matches and compares with the average over the processes that have masks to compare."""
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    entities = torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(9)), dim=-1)
    state, expected = torch.zeros(2), torch.tensor(0.0)
    for image in range(len(MASKS[0])):
        regions = [
            torch.randn(1, counts[image], 8, generator=torch.Generator().manual_seed(10 * image + place))
            for place, counts in enumerate(MASKS)
        ]
        pairs = match_regions(regions[rank], entities, 10.0, matching="greedy", momentum=0.5, state=state)
        shown = [surprise_threshold(part, entities) for part in regions if part.shape[1] > 1]
        if shown:
            new = torch.stack(shown).mean()
            expected = new if expected == 0 else 0.5 * expected + 0.5 * new
        torch.testing.assert_close(state[0], expected)
        assert len(pairs.regions) <= MASKS[rank][image]
        assert MASKS[rank][image] != 1 or len(pairs.regions) == 1
    # In evaluation one process may have images left when the other is done: none waits, and the threshold stays.
    if rank == 0:
        before = state.clone()
        for count in (3, 1, 0):
            regions = torch.randn(1, count, 8, generator=torch.Generator().manual_seed(count))
            pairs = match_regions(regions, entities, 10.0, matching="greedy", state=state, update=False)
            surprise = (
                -(10 * torch.nn.functional.normalize(regions[0], dim=-1) @ entities.t()).softmax(-1).amax(-1).log()
            )
            kept = [0] if count == 1 else (surprise <= state[0]).nonzero()[:, 0].tolist() if count else []
            assert pairs.regions.tolist() == kept
        assert torch.equal(state, before)
    print("equal", file=open(f"{folder}/done{rank}", "w"))
    distributed.destroy_process_group()
