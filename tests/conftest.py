# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Settings of all tests: offline, and readable assertions in the shared test code."""

import os

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytest.register_assert_rewrite("contract", "golden", "oracle")
