"""Everything that the OpenAPI description promises, tried with generated requests over real sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from tests.serving.servers import Server

CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance]


def test_no_request_breaks_the_service_or_its_description(server: Server, keys: tuple[Path, dict[str, str]]) -> None:
    described = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
    headers = {"Authorization": f"Bearer {keys[1]['all']}"}
    seen: dict[str, set[int]] = {}

    for found in described.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()

        @settings(max_examples=15, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def tried(case: Any) -> None:
            response = case.call(headers=headers)
            case.validate_response(response, checks=CHECKS)
            seen.setdefault(f"{case.method} {case.path}", set()).add(response.status_code)

        tried()
    assert len(seen) >= 9
    assert 200 in seen["POST /v1/models/toy_pd/decisions"], seen
