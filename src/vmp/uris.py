"""libvirt's connection URIs, judged and taken apart (https://libvirt.org/uri.html)."""

from __future__ import annotations

import re
from typing import NamedTuple

from vmp.texts import Judgement, check_host

_URI = re.compile(
    r"""(?P<driver>[a-z][a-z0-9]*)(\+(?P<transport>[a-z0-9]+))?://
    (?P<authority>((?P<user>[^\s,@/?#]+)@)?(?P<host>[\w.][\w.-]*|\[[0-9A-Fa-f:.%]+\])(:(?P<port>[0-9]+))?)?
    (?P<path>/[^?#]*)?(\?(?P<query>[^#]*))?""",
    re.VERBOSE,
)


class Uri(NamedTuple):
    """The parts of a URI; each is empty where the URI has none."""

    driver: str = ""
    transport: str = ""
    user: str = ""
    host: str = ""
    """A name or an address, without the brackets of IPv6."""
    port: str = ""
    path: str = ""
    parameters: tuple[str, ...] = ()
    """What comes after the question mark: each as it is written, such as `keyfile=/my%20key`."""


def take_apart(uri: str) -> Uri | None:
    """Return the parts of a URI, or None for what is none."""
    match = _URI.fullmatch(uri)
    if not match:
        return None
    return Uri(
        driver=match["driver"],
        transport=match["transport"] or "",
        user=unquote(match["user"] or ""),
        host=unquote((match["host"] or "").strip("[]")),
        port=match["port"] or "",
        path=match["path"] or "",
        parameters=tuple(filter(None, re.split("[&;]", match["query"] or ""))),
    )


def unquote(text: str) -> str:
    """Decode percent signs."""
    if "%" not in text:
        return text
    from urllib.parse import unquote as decode  # costs milliseconds that few URIs have to pay

    return decode(text)


def check_uri(uri: str) -> Judgement:
    """Judge a connection URI."""
    match = _URI.fullmatch(uri)
    user = match["user"] or "" if match else ""
    if ":" in user:
        return "a connection URI cannot hold a password", "leave it out: ssh asks for it, or takes a key"
    if match and uri.isprintable() and not (user and check_host(unquote(user))):
        return None
    return f"{uri!r} is not a libvirt connection URI", "like qemu:///system or qemu+ssh://user@host/system"
