# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A mark for tests that take a minute and more each: they run where `HFSEG_SLOW_TESTS` is set, weekly on GitHub."""

import os

import pytest

slow = pytest.mark.skipif(not os.environ.get("HFSEG_SLOW_TESTS"), reason="a minute or more; set HFSEG_SLOW_TESTS")
