"""The data that vmp wrote, vm.json above all: read whole, and refused where somebody has edited it amiss."""

from __future__ import annotations

import json
from typing import Any

from .say import Problem

_TRUTHS = frozenset("askEachTime autostart byNode localOnly password readOnly secrets shared".split())
_LISTS = frozenset("derivedMacs forwarders hostnames hosts ips itemNames networks options".split()) | frozenset(
    "configDrives pools reservations usedPools virtInstall volumes".split()
)
_RECORDS = frozenset(
    "archive backing checksum connection dhcp dns domain forward image install knobs".split()
) | frozenset("member seed signature ssh".split())
"""The keys whose values are no texts."""
_OF_RECORDS = frozenset("configDrives pools volumes networks reservations networks.ips networks.dns.hosts".split())
"""The lists whose items are records; those of all others are texts."""


def read_json(path: str, name: str, meaning: str) -> Any:
    """Read a file that vmp wrote; errors call it ``name`` and say what it holds."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        raise Problem(f"there is no {name}{meaning and ', ' + meaning}", "'vmp gen' writes it") from None
    except OSError as error:
        raise Problem(f"cannot read {name}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise Problem(f"{name} is not JSON: {error}", "'vmp gen' writes it anew") from None


def check_kinds(facts: dict[str, Any], place: str = "") -> None:
    """Raise a ValueError for a value of vm.json that is not of the kind that vmp writes."""
    for key, value in facts.items():
        if (place, key) == ("", "format"):
            continue
        kind = bool if key in _TRUTHS else list if key in _LISTS else dict if key in _RECORDS else str
        _check_kind(f"{place}{key}", value, kind)
        inner = dict if f"{place}{key}" in _OF_RECORDS else str
        for item in value if isinstance(value, list) else ():
            _check_kind(f"an item of {place}{key}", item, inner)
        for record in value if inner is dict else [value] if kind is dict else ():
            check_kinds(record, f"{place}{key}.")


def _check_kind(what: str, value: object, kind: type) -> None:
    words = {bool: "true or false", list: "a list", dict: "a mapping", str: "a text"}
    if not isinstance(value, kind):
        raise ValueError(f"{what} is {json.dumps(value)[:60]}, not {words[kind]}")
