"""The server is what its OpenAPI schema says: schemathesis makes up requests from it."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as of_openapi

from tests.support.plain import PlainEngine
from tests.support.serving import Served

LEFT_OUT: list[Any] = [
    of_openapi.positive_data_acceptance,  # what a message must have, the schema does not say
    of_openapi.negative_data_rejection,  # a number is taken as a string of its digits too
    of_openapi.unsupported_method,  # ids may have slashes, so that s/export is a session too
    of_openapi.allow_header_conformance,
]


@schemathesis.serializer("application/x-ndjson")
def _lines(context: Any, value: Any) -> bytes:
    """A body of JSON lines; what is made up is one string."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


# One for all, since the operations must be known when tests are collected.
served = Served(PlainEngine(), rate="1000000/minute", queue=0)
headers = {"Authorization": f"Bearer {served.told['acme']}"}
schema = schemathesis.openapi.from_asgi("/openapi.json", served.app, headers=headers)


@schema.parametrize()
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_what_is_asked_is_answered_as_the_schema_says(case: Any) -> None:
    left_out = list(LEFT_OUT)
    if case.path == "/v1/engine":  # 501: a plain engine is not one to be used from elsewhere
        left_out.append(checks.not_a_server_error)
    case.call_and_validate(headers=headers, excluded_checks=left_out)


def test_the_schema_says_where_a_key_is_needed_and_how_refusals_look() -> None:
    told = served.app.openapi()
    assert told["security"] == [{"key": []}]
    operations = {
        f"{method} {path}": operation
        for path, parts in told["paths"].items()
        for method, operation in parts.items()
    }
    without = [name for name, of in operations.items() if of.get("security") == []]
    assert without == ["get /healthz", "get /readyz"]
    other = {
        name
        for name, operation in operations.items()
        for status, response in operation["responses"].items()
        if int(status) >= 400 and "Refusal" not in str(response["content"]["application/json"])
    }
    assert other == {"get /readyz"}
