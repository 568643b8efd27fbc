"""The stage that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults.scenes import Stage
from faults.trial import Bench


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, default_pool: None) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("faults") / "stage") as stage:
        yield stage


@pytest.fixture(scope="module")
def bench(stage: Stage) -> Bench:
    return Bench(stage)
