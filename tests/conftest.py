"""Where the tests run, and what may be skipped: nothing, when all of them are to pass."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAB = os.environ.get("VMP_IN_LAB") == "yes"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="count a skipped test as a failure")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if LAB:
        return
    outside = pytest.mark.skip(reason="needs the private libvirt that 'make test' starts")
    for item in items:
        if item.get_closest_marker("lab"):
            item.add_marker(outside)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.skipped and item.config.getoption("--no-skips"):  # type: ignore[attr-defined]
        report.outcome = "failed"  # type: ignore[attr-defined]
    return report
