"""Schemas and tables of keys are those of the declarations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tests.docs import documents


@pytest.mark.parametrize("path", documents.made(), ids=lambda path: path.name)
def test_it_is_up_to_date(path: Path) -> None:
    assert path.read_text("utf-8") == documents.made()[path], "python -m tests.docs.documents --write"


@pytest.mark.parametrize("name", documents.SCHEMAS)
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(json.loads(documents.schema_text(name)))
