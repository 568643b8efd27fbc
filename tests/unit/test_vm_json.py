"""vm.json as the provisioner judges it: what vmp writes passes, and what is of another kind does not."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vmp.provisioners.v1alpha1.runtime.vm_json import check_kinds

CASES = sorted((Path(__file__).parent.parent / "cases").rglob("vm.json"))

OTHER_KINDS: tuple[Any, ...] = (None, 5, True, "text", ["text"], {"key": "text"})


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.parent.parent.parent.name)
def test_what_vmp_writes_is_of_the_right_kinds(path: Path) -> None:
    check_kinds(json.loads(path.read_text()))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container and key below a value."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


SOME = [*CASES[::5], *[path for path in CASES if "on-a-network-of-its-own" in str(path)]]


@pytest.mark.parametrize("path", SOME, ids=lambda path: path.parent.parent.parent.name)
def test_each_value_of_another_kind_is_refused(path: Path) -> None:
    facts = json.loads(path.read_text())
    for container, key in places(facts):
        kept = container[key]
        for other in OTHER_KINDS:
            if type(other) is type(kept) or (container is facts and key == "format"):
                continue
            container[key] = copy.deepcopy(other)
            with pytest.raises(ValueError, match=", not "):
                check_kinds(facts)
        container[key] = kept
