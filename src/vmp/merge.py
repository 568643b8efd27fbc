"""Two nodes to one: strategic merge, and the resolution of templates.

The rules are those of strategic merge patches: mappings merge key by key, lists whose elements all
have a ``name`` merge by name, everything else is replaced. ``merge(a, merge(b, c))`` equals
``merge(merge(a, b), c)``: a removal, and a collection that replaced something else, stay in the result with a
mark until :func:`settle` takes it out, so registry files can be merged before templates are.
"""

from __future__ import annotations

from vmp.diagnostics import Report
from vmp.nodes import Entry, Mapping, Node, Scalar, Sequence, is_null

MAX_INHERITANCE = 100
"""Longest chain of templates; real registries use about four levels."""

OWN_KEYS = frozenset({"name", "template", "templates"})
"""The keys of a template that are about the template itself, and are not inherited."""


def merge(base: Node, over: Node) -> Node:
    """Lay ``over`` on ``base``."""
    if base is over and not over.patched:
        return base
    if isinstance(over, Mapping):
        if over.patch:
            return over
        if isinstance(base, Mapping) and base.patch != "delete":
            return _merge_mappings(base, over)
        return Mapping(over.entries, over.span, "replace")
    if isinstance(over, Sequence):
        if isinstance(base, Sequence):
            return _merge_sequences(base, over)
        return Sequence(over.items, over.span, "replace")
    if is_null(over):
        return Scalar(over.text, "null", over.span, removes=True)
    return over


def _merge_mappings(base: Mapping, over: Mapping) -> Mapping:
    entries = dict(base.entries)
    for key, entry in over.entries.items():
        found = entries.get(key)
        entries[key] = entry if found is None else Entry(entry.key, merge(found.value, entry.value))
    return Mapping(entries, over.span, base.patch)


def _merge_sequences(base: Sequence, over: Sequence) -> Sequence:
    return over if over.patch else merge_lists([base, over])


def merge_lists(lists: list[Sequence]) -> Sequence:
    """Lay each list on those before it: by name where every element has one, else it replaces them whole."""
    result = lists[0]
    items = _by_name(result)
    for over in lists[1:]:
        additions = _by_name(over)
        if additions is None or items is None:
            result = Sequence(over.items, over.span, "replace")
            items = additions
            continue
        for name, addition in additions.items():
            found = items.get(name)
            items[name] = addition if found is None else merge(found, addition)
        result = Sequence((), over.span, result.patch)
    return result if items is None else Sequence(tuple(items.values()), result.span, result.patch)


def _by_name(node: Sequence) -> dict[str, Node] | None:
    """Return the elements by name, or None if one has none or two have the same."""
    named = {name: item for item in node.items if (name := element_name(item)) is not None}
    return named if len(named) == len(node.items) else None


def element_name(node: Node) -> str | None:
    """Return the name by which a list element merges."""
    if isinstance(node, Mapping) and (entry := node.entries.get("name")) and isinstance(entry.value, Scalar):
        return None if entry.value.kind == "null" else entry.value.text
    return None


def settle(node: Node) -> Node:
    """Take out what ``$patch: delete`` removed; ``$patch`` itself never reaches the result."""
    if isinstance(node, Mapping) and node.patched:
        return Mapping(
            {
                key: Entry(entry.key, settle(entry.value))
                for key, entry in node.entries.items()
                if not _is_deleted(entry.value)
            },
            node.span,
        )
    if isinstance(node, Sequence) and node.patched:
        return Sequence(tuple([settle(item) for item in node.items if not _is_deleted(item)]), node.span)
    return node


def _is_deleted(node: Node) -> bool:
    return isinstance(node, Mapping) and node.patch == "delete"


def lay_install_over_domain(vm: Mapping) -> Mapping:
    """Return a VM whose `install` has all options of its first phase: its own, laid over those of the domain.

    That comes before `settle`, so that `$patch` in `install` takes away what the domain has.
    """
    libvirt = vm.get("libvirt")
    domain = libvirt.get("domain") if isinstance(libvirt, Mapping) else None
    install = domain.get("install") if isinstance(domain, Mapping) else None
    own = install.get("virtInstall") if isinstance(install, Mapping) else None
    lasting = domain.get("virtInstall") if isinstance(domain, Mapping) else None
    if own is None or lasting is None:
        return vm
    found = merge(lasting, own)
    for parent, key in ((install, "virtInstall"), (domain, "install"), (libvirt, "domain"), (vm, "libvirt")):
        assert isinstance(parent, Mapping)
        entries = {**parent.entries, key: Entry(parent.entries[key].key, found)}
        found = Mapping(entries, parent.span, parent.patch)
    return _as_mapping(found)


class Templates:
    """The templates of a registry, each resolved once."""

    def __init__(self, templates: dict[str, Mapping], report: Report) -> None:
        self.entries = templates
        self._report = report
        self._resolved: dict[str, Mapping | None] = {}
        self._chain: list[str] = []
        self._incomplete: set[int] = set()

    def is_complete(self, node: Mapping) -> bool:
        """Tell whether all that a VM or template inherits was found. Known once it was asked to inherit."""
        return id(node) not in self._incomplete

    def inherit(self, node: Mapping) -> Mapping:
        """Return a VM or template with all that it inherits, its own keys winning."""
        inherited: Mapping | None = None
        for reference in template_references(node):
            found = self._resolve(reference)
            if found is None or not self.is_complete(self.entries[reference.text]):
                self._incomplete.add(id(node))
            if found is not None:
                inherited = found if inherited is None else _as_mapping(merge(inherited, found))
        own = Mapping({k: e for k, e in node.entries.items() if k not in OWN_KEYS}, node.span)
        return own if inherited is None else _as_mapping(merge(inherited, own))

    def _resolve(self, reference: Scalar) -> Mapping | None:
        name = reference.text
        if name in self._chain:
            chain = [*self._chain[self._chain.index(name) :], name]
            self._report.error("template-cycle", f"templates inherit in a circle: {' → '.join(chain)}", reference.span)
            return None
        if name not in self._resolved:
            if name not in self.entries:
                self._report.error(
                    "unknown-template",
                    f"unknown template {name!r}",
                    reference.span,
                    help=self._report.nearest(name, self.entries),
                )
                return None
            if len(self._chain) == MAX_INHERITANCE:
                message = f"templates inherit more than {MAX_INHERITANCE} levels deep"
                self._report.error("too-deep", message, reference.span)
                return None
            self._chain.append(name)
            self._resolved[name] = self.inherit(self.entries[name])
            self._chain.pop()
        return self._resolved[name]


def template_references(node: Mapping) -> list[Scalar]:
    """Return the names that ``template`` or ``templates`` gives, as far as they are names at all."""
    one, many = node.get("template"), node.get("templates")
    found = [one] if one is not None else list(many.items) if isinstance(many, Sequence) else []
    return [item for item in found if isinstance(item, Scalar) and item.kind != "null"]


def _as_mapping(node: Node) -> Mapping:
    assert isinstance(node, Mapping)
    return node
