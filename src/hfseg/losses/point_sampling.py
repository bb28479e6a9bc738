# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Bilinear reading of maps at points (PointRend; Kirillov et al., CVPR 2020), without making masks first.

Points are (x, y) in 0..1 of the padded image; a map's pixel (row, column) has its center at (column + 0.5, row + 0.5).
Outside a map everything is zero, as with `grid_sample(padding_mode="zeros", align_corners=False)`.
"""

import torch
import torch.nn.functional as F


def bilinear_corners(points: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes which four pixels a point lies between, and their shares.

    Args:
        points: (x, y) in 0..1.
        size: `(height, width)` of the map.

    Returns:
        Row-major pixel indices and weights; a corner outside the map has weight 0 and a legal index.

    Shape:
        points: `(..., 2)`. Output: int64 and float32, both `(4, ...)`.
    """
    height, width = size
    x, y = points[..., 0] * width - 0.5, points[..., 1] * height - 0.5
    left, top = x.floor(), y.floor()
    right_share, bottom_share = x - left, y - top
    # A share of a pixel outside becomes 0, its index any legal one.
    columns, column_shares = zip(*(_inside(left + d, share, width) for d, share in _pair(right_share)))
    rows, row_shares = zip(*(_inside(top + d, share, height) for d, share in _pair(bottom_share)))
    indices = torch.stack([row * width + column for row in rows for column in columns])
    return indices, torch.stack([row * column for row in row_shares for column in column_shares])


def _pair(share: torch.Tensor) -> tuple[tuple[int, torch.Tensor], tuple[int, torch.Tensor]]:
    return (0, 1 - share), (1, share)


def _inside(position: torch.Tensor, share: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    clamped = position.clamp(0, size - 1)
    return clamped.long(), share * (clamped == position)


def sample_embedding(embedding: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Reads maps of vectors at points, without gradients.

    Shape:
        embedding: `(B, M, h, w)`; points: `(B, S, 2)`; output: `(B, S, M)`.
    """
    batch_size, channels, height, width = embedding.shape
    indices, weights = bilinear_corners(points, (height, width))  # (4, B, S)
    image = torch.arange(batch_size, device=embedding.device)[:, None] * (height * width)
    # One row per pixel, so that a corner is one short read.
    table = embedding.flatten(2).transpose(1, 2).reshape(-1, channels)  # (B*h*w, M)
    sampled = F.embedding_bag(
        (indices + image).flatten(1).t().contiguous(),
        table,
        mode="sum",
        per_sample_weights=weights.flatten(1).t().contiguous().to(table.dtype),
    )
    return sampled.view(*points.shape[:-1], channels)


def sample_masks(logits: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Reads masks at points of their own, with gradients.

    Shape:
        logits: `(N, h, w)`; points: `(N, S, 2)`; output: `(N, S)`.
    """
    grid = (2 * points - 1).unsqueeze(1)  # (N, 1, S, 2)
    return F.grid_sample(logits.unsqueeze(1), grid, padding_mode="zeros", align_corners=False)[:, 0, 0]


class Targets:
    """The target segments of a batch, readable at points without becoming float masks.

    Id maps stay id maps. If one image gives binary masks (segments that overlap), all images are held as such.

    Args:
        mask_labels: Per image an id map `(H, W)`, whose value n + 1 is segment n, or binary masks `(T, H, W)`.
        counts: Per image the number of segments T.
        size: `(height, width)` of the padded input; beyond its edge a target is background.
    """

    def __init__(self, mask_labels: list[torch.Tensor], counts: list[int], size: tuple[int, int]):
        self.size, self.counts = size, counts
        self.as_map = all(masks.dim() == 2 for masks in mask_labels)
        # A frame of nothing around every map: all corners of a point are legal.
        if self.as_map:
            self.storage = torch.stack(
                [self._framed(masks).int() for masks in mask_labels]
            ).flatten()  # (B*(H+2)*(W+2),)
            self.starts = list(range(len(counts)))
        else:
            stacks = [
                masks
                if masks.dim() == 3
                else masks == torch.arange(1, count + 1, device=masks.device, dtype=masks.dtype)[:, None, None]
                for masks, count in zip(mask_labels, counts)
            ]
            self.storage = torch.cat([self._framed(stack.to(torch.uint8)).flatten() for stack in stacks])
            self.starts = [sum(counts[:image]) for image in range(len(counts))]

    @property
    def _area(self) -> int:
        return (self.size[0] + 2) * (self.size[1] + 2)

    def _framed(self, masks: torch.Tensor) -> torch.Tensor:
        height, width = masks.shape[-2:]
        return F.pad(masks, (1, self.size[1] + 1 - width, 1, self.size[0] + 1 - height))

    def _places(self, points: torch.Tensor, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Index into the storage of the upper left corner, and shares of the right and of the lower ones.

        Shape: points `(..., S, 2)`, in 0..1; maps `(...)`, position of the map that is read; output: three `(..., S)`.
        """
        height, width = self.size
        x, y = points[..., 0] * width - 0.5, points[..., 1] * height - 0.5
        left, top = x.floor(), y.floor()
        # From -1, in the frame, to the last pixel, right of and below which the frame lies.
        first = (top.long() + 1) * (width + 2) + left.long() + 1
        return first + (maps * self._area).unsqueeze(-1), x - left, y - top

    def _corners(self, first: torch.Tensor) -> list[torch.Tensor]:
        """Stored values at the four corners: left and right above, then below. Shape: each as `first`."""
        flat, line = first.flatten(), self.size[1] + 2
        offsets = (0, 1, line, line + 1)
        return [self.storage[offset:].index_select(0, flat).view(first.shape) for offset in offsets]

    def read(self, images: torch.Tensor, segments: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Reads one segment at each set of points: the interpolated value of its binary mask.

        Args:
            images: Index of the image.
            segments: Index of the segment within its image.
            points: (x, y) in 0..1 of the padded input.

        Shape:
            images, segments: `(...)`; points: `(..., S, 2)`; output: `(..., S)`, float32.
        """
        if self.as_map:
            first, right, below = self._places(points, images)
            wanted = (segments + 1).to(self.storage.dtype).unsqueeze(-1)
            corners = [(values == wanted).to(right.dtype) for values in self._corners(first)]
        else:
            start = torch.tensor(self.starts, device=images.device)[images]
            first, right, below = self._places(points, start + segments)
            corners = [values.to(right.dtype) for values in self._corners(first)]
        upper, lower = torch.lerp(corners[0], corners[1], right), torch.lerp(corners[2], corners[3], right)
        return torch.lerp(upper, lower, below)

    def read_all(self, points: torch.Tensor) -> torch.Tensor:
        """Reads every segment of every image at points that its segments share.

        Shape:
            points: `(B, S, 2)`; output: `(B, T, S)` with T the largest number of segments; missing ones read 0.
        """
        most, device = max(self.counts), self.storage.device
        starts = torch.tensor(self.starts, device=device)
        first, right, below = self._places(points, starts)  # (B, S)
        shares = [(1 - right) * (1 - below), right * (1 - below), (1 - right) * below, right * below]
        if self.as_map:
            truth = right.new_zeros(len(self.counts), most + 1, points.shape[1])
            for values, share in zip(self._corners(first), shares):
                numbers = values.long()
                numbers = torch.where((numbers < 0) | (numbers > most), 0, numbers)  # row 0: no target
                truth.scatter_add_(1, numbers.unsqueeze(1), share.unsqueeze(1))
            return truth[:, 1:]
        truth = right.new_zeros(len(self.counts), most, points.shape[1])
        for image, (start, count) in enumerate(zip(self.starts, self.counts)):
            stack = self.storage[start * self._area : (start + count) * self._area].view(count, self._area)
            inside, line = first[image] - start * self._area, self.size[1] + 2
            for offset, share in zip((0, 1, line, line + 1), shares):
                truth[image, :count] += stack[:, inside + offset] * share[image]
        return truth


class KnownPixels:
    """The pixels of a batch about which something is known, readable at points.

    A point is known if all pixels between which it lies are.

    Args:
        void_masks: Per image the pixels about which nothing is known.
        mask_labels: The targets, which the masks must fit.
        size: `(height, width)` of the padded input; beyond its edge everything is known to be background.

    Raises:
        ValueError: If a mask is missing, or of another size than its image's targets.
    """

    def __init__(self, void_masks: list[torch.Tensor], mask_labels: list[torch.Tensor], size: tuple[int, int]):
        if len(void_masks) != len(mask_labels):
            raise ValueError(f"Got {len(void_masks)} void_masks for {len(mask_labels)} images: give one per image.")
        padded = []
        for index, (void, masks) in enumerate(zip(void_masks, mask_labels)):
            if void.shape != masks.shape[-2:] or void.dtype != torch.bool:
                raise ValueError(
                    f"void_masks[{index}] has shape {tuple(void.shape)} and type {void.dtype}; it must be boolean of "
                    f"the size of its targets, {tuple(masks.shape[-2:])}."
                )
            padded.append(F.pad(void, (0, size[1] - void.shape[1], 0, size[0] - void.shape[0])))
        self.size, self.storage = size, torch.stack(padded).flatten()  # (B*H*W,)

    def read(self, images: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Reads 1 at points that are known, else 0.

        Shape:
            images: `(N,)`; points: `(N, S, 2)`; output: `(N, S)`, float32.
        """
        indices, weights = bilinear_corners(points, self.size)  # (4, N, S)
        void = self.storage[indices + (images * (self.size[0] * self.size[1])).unsqueeze(-1)]
        return (~(void & (weights > 0)).any(0)).float()

    def read_all(self, points: torch.Tensor) -> torch.Tensor:
        """Reads points of every image. Shape: `(B, S, 2)` to `(B, S)`."""
        return self.read(torch.arange(len(points), device=points.device), points)
