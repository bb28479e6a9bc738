# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The benchmark of what users wait for runs, and its two sides agree."""

from benchmarks.waits import waits_table


def test_both_sides_agree_at_small_sizes():
    tables, notes = waits_table(["loss", "metrics", "windows"], 1, tiny=True)
    for row in tables["loss"]:
        loss, gradients = (float(part.split()[1]) for part in row["agreement"].split(", "))
        assert loss < 1e-6 and gradients < 1e-5
    average = [row["agreement"] for row in tables["metrics"] if row["agreement"]]
    assert average == ["AP 0e+00"] * 2
    scores, classes = tables["windows"]
    assert float(scores["agreement"]) < 1e-6 and classes["agreement"].startswith("100.0000 %")
    assert all(row["ours ms"] > 0 and row["peer ms"] > 0 for rows in tables.values() for row in rows) and notes
