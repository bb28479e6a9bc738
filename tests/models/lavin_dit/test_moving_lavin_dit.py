# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Moving a pipeline between devices."""

import torch


def test_moving_says_nothing_needless(pipe, caplog, recwarn):
    pipe.to("cpu")
    pipe.to(torch.float32)
    assert not caplog.records and not recwarn.list
