"""Fixtures of tests with real Ray, named in ``pytest_plugins``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.ray_cluster import RayCluster, cluster


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[RayCluster]:
    """Ray and Serve for a module; tests keep apart by applications of their own."""
    with cluster() as started:
        yield started
