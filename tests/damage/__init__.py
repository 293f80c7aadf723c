"""Attempts to break gitstate: killed, starved, raced, lied to and misused."""

import pytest

pytest.register_assert_rewrite("tests.damage.harness")
