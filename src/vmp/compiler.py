"""The way of a VM through the stages: inherit, expand, decode, check; and of all VMs: check them together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from vmp.configuration import Configuration
from vmp.diagnostics import Report
from vmp.expand import Scope, check_braces, expand
from vmp.images import FoundImage, Images, variables_of
from vmp.keys import PublicKeys
from vmp.merge import Templates, element_name, lay_install_over_domain, settle
from vmp.nodes import Entry, Mapping, Node, Scalar, Sequence
from vmp.provisioners import PROVISIONERS, Provisioner
from vmp.schema import BUILT_IN_VARIABLES, IMAGE, NODE, REGISTRY, VM, NodeEntry, VmEntry
from vmp.shapes import Decoding
from vmp.texts import check_name

Variables = dict[str, "Scalar | str | None"]


class Compiler:
    """A registry, ready to compile its VMs. What VMs share is worked out once."""

    def __init__(self, root: Mapping, report: Report) -> None:
        self._report = report
        self._decoding = Decoding(report, unexpanded=True)  # where a text still has variables, that is reported
        self._templates = Templates(_by_name(root, "templates"), report)
        self._nodes = _by_name(root, "nodes", settle)
        self._node_entries: dict[str, NodeEntry] = {}
        images = _by_name(root, "images", settle)
        self.images = Images(images, report)
        self._public_keys = PublicKeys(report)
        self.vms = _by_name(root, "vms")
        self._compiled: dict[str, list[tuple[Any, Mapping]]] = {}
        """What has been compiled without a mistake, by version: plans, and the mappings that have their places."""
        self._check(root, images)

    def _check(self, root: Mapping, images: dict[str, Mapping]) -> None:
        """Report what is wrong whatever the VMs make of it."""
        REGISTRY.decode(root, (), Decoding(self._report, partial=True, unexpanded=True))
        for name, node in self._nodes.items():
            self._node_entries[name] = NODE.decode(node, (), Decoding(self._report))
        unexpanded = Decoding(self._report, unexpanded=True)
        for image in images.values():
            IMAGE.decode(image, (), unexpanded)
            check_braces(image, self._report, verbatim="pattern")
        for entry in (*self._templates.entries.values(), *self.vms.values()):
            check_braces(entry, self._report)
            if entry.get("template") is not None and entry.get("templates") is not None:
                span = entry.span_of("templates")
                self._report.error("ambiguous-template", "both 'template' and 'templates' are given", span)
        self.images.check()
        for template in self._templates.entries.values():
            self._templates.inherit(template)
            self._check_references(template)
        for name, vm in self.vms.items():
            if name and (wrong := check_name(name)):  # decoding has reported an empty one
                self._report.error("bad-name", wrong[0], vm.entries["name"].value.span, help=wrong[1])

    def _check_references(self, template: Mapping) -> None:
        """Report what a template refers to in vain, as far as no variable of a VM could make it right."""
        node, image, provisioner = map(template.get, ("nodeName", "image", "provisioner"))
        if isinstance(node, Scalar) and node.plain:
            self._find_node(template, Scope({}, self._report))
        if isinstance(image, Scalar) and image.plain:
            self._find_image(template, Scope({}, self._report))
        if isinstance(provisioner, Scalar) and provisioner.plain:
            self._find_provisioner(provisioner)

    def select(self, names: Iterable[str]) -> list[str]:
        """Return the named VMs in registry order, or all where none is named."""
        wanted = dict.fromkeys(names)
        for name in wanted:
            if name not in self.vms:
                help_ = "a registry is given as --registry FILE" if name.endswith((".yaml", ".yml")) else None
                self._report.error(
                    "unknown-vm", f"unknown VM {name!r}", help=self._report.nearest(name, self.vms) or help_
                )
        return [name for name in self.vms if not wanted or name in wanted]

    def image_references(self) -> list[str]:
        """Return the references that VMs and templates use and the names of all images, for completion."""
        used = [entry.get("image") for entry in (*self.vms.values(), *self._templates.entries.values())]
        references = [node.text for node in used if isinstance(node, Scalar) and node.plain]
        return list(dict.fromkeys([*references, *self.images.entries]))

    def compile(self, names: Iterable[str]) -> list[Configuration]:
        """Return the configurations of the named VMs; those with mistakes are left out and reported."""
        found = []
        self._compiled = {}
        for name in names:
            if check_name(name):
                continue  # reported, and its domain is likely to be called the same
            self._report.context, self._report.own = name, self.vms[name].span
            configuration = self._compile(name)
            self._report.context, self._report.own = "", None
            if configuration is not None:
                found.append(configuration)
        for version, compiled in self._compiled.items():
            PROVISIONERS[version].check_nodes(compiled, self._report)
        return found

    def _compile(self, name: str) -> Configuration | None:
        before = self._report.calls
        own = self.vms[name]
        merged = _as_mapping(settle(lay_install_over_domain(self._templates.inherit(own))))
        merged = Mapping({"name": own.entries["name"], **merged.entries}, own.span)
        if not self._templates.is_complete(own):
            return None  # what it lacks may be in a template that has been reported as missing
        own_variables = variables_of(merged)

        # a variable in nodeName can come from the VM, one in image from the VM and its node
        low: Variables = {**BUILT_IN_VARIABLES}
        fixed: Variables = {"VM_NAME": name}
        node = self._find_node(merged, Scope({**low, **own_variables, **fixed}, self._report))
        if node is not None:
            low |= variables_of(self._nodes[node])
            fixed["NODE_NAME"] = node
        found = self._find_image(merged, Scope({**low, **own_variables, **fixed}, self._report))
        if node is None or found is None:
            VM.decode(merged, (), self._decoding)
            return None

        image = found.image
        fixed["IMAGE_FORMAT"] = image.format
        fixed["IMAGE_NAME"] = image.name
        fixed["IMAGE_TAG"] = image.tag
        fixed["IMAGE_URL"] = image.url
        fixed["IMAGE_VOLUME_NAME"] = image.volume_name
        written = {**low, **found.variables, **own_variables}
        scope = Scope({**written, **fixed}, self._report)
        expanded = Mapping({key: _expand_entry(key, entry, scope) for key, entry in merged.entries.items()}, own.span)
        vm: VmEntry = VM.decode(expanded, (), self._decoding)
        variables = scope.all_values()
        image_keys = self._public_keys.read(found.keys) if found.keys else b""
        if self._report.calls > before:
            return None

        provisioner = self._find_provisioner(expanded.entries["provisioner"].value)
        if provisioner is None:
            return None
        configuration = Configuration(
            vm=vm,
            node=self._node_entries[node],
            image=image,
            variables=variables,
            own_variables=frozenset(own_variables),
            places={key: value.span for key, value in written.items() if isinstance(value, Scalar)},
            image_keys=image_keys,
        )
        plan = provisioner.plan(configuration)
        provisioner.check(plan, expanded, self._report)
        if self._report.calls == before:
            self._compiled.setdefault(vm.provisioner, []).append((plan, expanded))
        return configuration

    def _find_node(self, merged: Mapping, scope: Scope) -> str | None:
        node = merged.get("nodeName")
        name = scope.expand_text(node) if isinstance(node, Scalar) else None
        if node is None or name is None:
            return None
        if name not in self._nodes:
            self._report.error(
                "unknown-node", f"unknown node {name!r}", node.span, help=self._report.nearest(name, self._nodes)
            )
            return None
        return name

    def _find_image(self, merged: Mapping, scope: Scope) -> FoundImage | None:
        node = merged.get("image")
        reference = scope.expand_text(node) if isinstance(node, Scalar) else None
        return None if reference is None else self.images.find(reference, node)

    def _find_provisioner(self, node: Node) -> Provisioner | None:
        assert isinstance(node, Scalar)
        found = PROVISIONERS.get(node.text)
        if found is None:
            message, help_ = f"unknown provisioner {node.text!r}", self._report.nearest(node.text, PROVISIONERS)
            self._report.error("unknown-provisioner", message, node.span, help=help_)
        return found


def _expand_entry(key: str, entry: Entry, scope: Scope) -> Entry:
    """Expand a value of a VM; its name is what the variables say it is."""
    return entry if key == "name" or entry.value.plain else Entry(entry.key, expand(entry.value, scope))


def _by_name(root: Mapping, section: str, prepare: Callable[[Node], Node] | None = None) -> dict[str, Mapping]:
    """Return the elements of a section that have a name; decoding reports the others."""
    section_node = root.get(section)
    found: dict[str, Mapping] = {}
    for item in section_node.items if isinstance(section_node, Sequence) else ():
        name = element_name(item)
        if name is not None and name not in found:  # a second one has been reported
            found[name] = _as_mapping(prepare(item) if prepare else item)
    return found


def _as_mapping(node: Node) -> Mapping:
    assert isinstance(node, Mapping)
    return node
