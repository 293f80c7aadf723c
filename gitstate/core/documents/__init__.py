"""Documents that users or machines write: each declared once, as a class from which parser, schema and docs come."""

from gitstate.core.documents.declare import UNSET, Document, FieldError, Meta, Unset, about, field, plain, replace
from gitstate.core.documents.parse import Source, parse, read_json, read_toml
