"""Requests to the page. Two hundred seeded ones; fuzz.py makes more."""

import pytest

pytest.importorskip("starlette", reason="needs starlette, of the extra app")
pytest.importorskip("httpx2", reason="needs httpx2, of the extra test")

from odd import requests  # noqa: E402
from odd.contract import breaches  # noqa: E402


def test_no_request_is_a_defect(tmp_path):
    assert breaches(requests.KINDS["requests"], "requests", tmp_path) == []
