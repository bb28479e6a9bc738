# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Results of an evaluation: units of their numbers."""


def test_units_follow_from_the_key():
    from hfseg.evaluation.result import unit_of

    expected = {
        "dice": "%",
        "dice_anterior": "%",
        "assd": "mm",
        "hd95_posterior": "mm",
        "mean_angle": "degrees",
        "mse": "",
    }
    assert {key: unit_of(key) for key in expected} == expected
