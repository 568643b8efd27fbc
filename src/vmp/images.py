"""``NAME:TAG`` to an image: where it is downloaded from and what it is called as a volume."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vmp.diagnostics import Report, nearest
from vmp.expand import Scope, expand
from vmp.nodes import Entry, Mapping, Node, Scalar, Sequence
from vmp.schema import TAG, Archive, Checksum, Tag
from vmp.shapes import Decoding

_HASH_LENGTHS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}


@dataclass(frozen=True, kw_only=True)
class Image:
    """One version of an image, all of its fields expanded."""

    name: str
    tag: str
    url: str
    volume_name: str
    format: str
    archive: Archive | None
    checksum: Checksum | None


@dataclass(frozen=True, kw_only=True)
class FoundImage:
    """An image and the variables that it brings, the tag's winning over the image's."""

    image: Image
    variables: dict[str, Scalar]


class Images:
    """The images of a registry; each reference is resolved once."""

    def __init__(self, entries: dict[str, Mapping], report: Report) -> None:
        self.entries = entries
        self._report = report
        self._decoding = Decoding(report)
        self._found: dict[str, FoundImage] = {}

    def find(self, reference: str, user: Node | None) -> FoundImage | None:
        """Return the image of ``NAME[:TAG]``; ``user`` is where the reference stands."""
        if reference in self._found:
            return self._found[reference]
        name, _, tag = reference.partition(":")
        tag = tag or "latest"
        span = user.span if user else None
        entry = self.entries.get(name)
        if entry is None:
            self._report.error("unknown-image", f"unknown image {name!r}", span, help=nearest(name, self.entries))
            return None
        tags = entry.get("tags")
        patterns = []
        for node in tags.items if isinstance(tags, Sequence) else ():
            pattern = node.get("pattern") if isinstance(node, Mapping) else None
            if not isinstance(node, Mapping) or not isinstance(pattern, Scalar):
                return None  # decoding the registry has reported it
            patterns.append(pattern.text)
            try:
                match = re.fullmatch(pattern.text, tag)
            except (re.error, OverflowError, RecursionError):
                return None
            if match:
                found = self._resolve(name, tag, entry, node, match.groupdict())
                if found:
                    self._found[reference] = found
                return found
        help_ = "the patterns are: " + "  ".join(patterns) if patterns else "the image has no tags"
        self._report.error("no-tag-matches", f"no tag of image {name!r} matches {tag!r}", span, help=help_)
        return None

    def _resolve(
        self, name: str, tag: str, entry: Mapping, node: Mapping, groups: dict[str, str | None]
    ) -> FoundImage | None:
        variables = {**variables_of(entry), **variables_of(node)}
        scope = Scope({**variables, **groups}, self._report)
        kept = ("pattern", "vars")
        expanded = Mapping(
            {
                key: item if key in kept else Entry(item.key, expand(item.value, scope))
                for key, item in node.entries.items()
            },
            node.span,
        )
        calls = self._report.calls
        decoded: Tag = TAG.decode(expanded, ("tags",), self._decoding)
        if self._report.calls == calls:
            self._check_checksum(decoded.checksum, expanded)
        if self._report.calls > calls:
            return None
        image = Image(
            name=name,
            tag=tag,
            url=decoded.url,
            volume_name=decoded.volume_name,
            format=decoded.format,
            archive=decoded.archive,
            checksum=decoded.checksum,
        )
        return FoundImage(image=image, variables=variables)

    def _check_checksum(self, checksum: Checksum | None, tag: Mapping) -> None:
        if checksum is None:
            return
        node = tag.entries["checksum"].value
        if (checksum.value is None) == (checksum.url is None):
            code = "missing-key" if checksum.value is None else "conflicting-keys"
            self._report.error(code, "a checksum takes one of 'value' and 'url'", node.span)
            return
        length = _HASH_LENGTHS[checksum.algorithm]
        if checksum.value is not None and not re.fullmatch(f"[0-9a-fA-F]{{{length}}}", checksum.value):
            assert isinstance(node, Mapping)
            message = f"{checksum.value!r} is not a {checksum.algorithm} hash"
            span = node.entries["value"].value.span
            self._report.error("bad-value", message, span, help=f"{length} hexadecimal digits")


def variables_of(node: Mapping) -> dict[str, Scalar]:
    """Return the ``vars`` of a node, image, tag or VM, as far as they are texts; null unsets."""
    found = node.get("vars")
    if not isinstance(found, Mapping):
        return {}
    return {
        name: entry.value
        for name, entry in found.entries.items()
        if isinstance(entry.value, Scalar) and entry.value.kind != "null"
    }
