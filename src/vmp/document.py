"""Plain values to YAML that every reader gives back unchanged.

YAML 1.1 (cloud-init's PyYAML) and 1.2 disagree about ``yes``, ``012``, ``1:20`` and more. So a string is
written without quotes only if it is a word that neither could take for anything else; any other string
is quoted. Several lines are written as a block, which is what a person wants to read.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

from vmp.shapes import Number

_SAFE = re.compile(r"[A-Za-z/][A-Za-z0-9_./@+-]*(?::[A-Za-z0-9_./@+-]+)*(?: [A-Za-z0-9_./@+=-]+)*")
_RESERVED = frozenset("y n yes no on off true false null nan inf".split())
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})|-?(0|[1-9][0-9]{0,17})\.[0-9]{1,17}")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}


def to_yaml(value: Any) -> str:
    """Return a value as a YAML document in block style, in the order of its keys."""
    lines: list[str] = []
    if isinstance(value, (dict, list)) and value:
        _write(value, "", lines)
    else:
        lines.append(_inline(value, "  "))
    return "\n".join(lines) + "\n"


def to_json(value: Any) -> str:
    """Return a value as an indented JSON document."""
    import json

    return json.dumps(_with_numbers(value), indent=2, ensure_ascii=False) + "\n"


def _with_numbers(value: Any) -> Any:
    if isinstance(value, Number):
        return to_number(value)
    if isinstance(value, dict):
        return {key: _with_numbers(item) for key, item in value.items()}
    return [_with_numbers(item) for item in value] if isinstance(value, list) else value


def _write(value: dict[Any, Any] | list[Any], indent: str, lines: list[str]) -> None:
    deeper = indent + "  "
    if isinstance(value, dict):
        for key, item in value.items():
            name = _scalar(key)
            head = f"{indent}{name}:" if len(name) < 1000 else f"{indent}? {name}\n{indent}:"
            if isinstance(item, (dict, list)) and item:
                lines.append(head)
                _write(item, deeper, lines)
            else:
                lines.append(f"{head} {_inline(item, deeper)}")
        return
    for item in value:
        if isinstance(item, (dict, list)) and item:
            nested: list[str] = []
            _write(item, deeper, nested)
            nested[0] = f"{indent}- {nested[0][len(deeper) :]}"
            lines.extend(nested)
        else:
            lines.append(f"{indent}- {_inline(item, deeper)}")


def _inline(value: Any, indent: str) -> str:
    if isinstance(value, str) and "\n" in value and (block := _block(value, indent)):
        return block
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, Number):
        return str(value) if _DECIMAL.fullmatch(value) else _scalar(to_number(value))
    if isinstance(value, str):
        return _string(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    return "{}" if isinstance(value, dict) else "[]"


def to_number(text: str) -> int | float:
    """Return the number that YAML 1.2 reads from its spelling."""
    if text.startswith(("0o", "0x")):
        return int(text, 0)
    try:
        return int(text)
    except ValueError:
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _float(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value)
    mantissa, exponent, power = text.partition("e")
    # YAML 1.1 knows a float by its dot and by the sign of its exponent
    mantissa = mantissa if "." in mantissa else mantissa + ".0"
    return mantissa if not exponent else f"{mantissa}e{power if power[0] == '-' else '+' + power.lstrip('+')}"


@lru_cache(maxsize=8192)
def _string(text: str) -> str:
    if _SAFE.fullmatch(text) and text.lower() not in _RESERVED and len(text) < 1000:
        return text
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join([_ESCAPES.get(c) or (c if c.isprintable() else _escaped(c)) for c in text]) + '"'


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _block(text: str, indent: str) -> str | None:
    """Return a literal block, or None where one could not carry the text exactly."""
    body = text.removesuffix("\n")
    lines = body.split("\n")
    if not lines[0].strip() or lines[0][0] in " \t" or not lines[-1].strip() or body.endswith("\n"):
        return None
    if not all([line.replace("\t", "").isprintable() for line in lines]):
        return None
    chomping = "|" if text.endswith("\n") else "|-"
    return "\n".join([chomping, *[indent + line if line else "" for line in lines]])
