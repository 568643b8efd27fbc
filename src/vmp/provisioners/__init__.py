"""The versions of the generated directory, by the name that a registry gives. Versions never import each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Mapping as MappingOf
from typing import Any, NamedTuple

from vmp.configuration import Configuration
from vmp.diagnostics import Report, Span
from vmp.nodes import Mapping
from vmp.provisioners import v1alpha1
from vmp.provisioners.plan_v1alpha1 import plan_v1alpha1
from vmp.tree import Tree


class Provisioner(NamedTuple):
    """What a version of the generated directory's format has to offer."""

    plan: Callable[[Configuration], Any]
    """Return what the version is told of a VM: records of its own."""

    check: Callable[[Any, Mapping, Report], None]
    """Report what this version cannot do of a plan; the mapping has the places of the values."""

    check_nodes: Callable[[Iterable[tuple[Any, Mapping]], Report], None]
    """Report what VMs of one node cannot have together: the plans and mappings of all VMs that are compiled."""

    render: Callable[[Any], Tree]
    """Return the directory of a plan. Called only for what :attr:`check` found nothing wrong with."""

    check_fleet: Callable[[MappingOf[str, Span], Report], None]
    """Report VMs that cannot be managed together because of their names, which come with their places."""

    render_fleet: Callable[[Iterable[str]], Tree]
    """Return what manages the VMs of these names together, to stand in the directory that holds theirs."""


PROVISIONERS = {
    "v1alpha1": Provisioner(
        plan=plan_v1alpha1,
        check=v1alpha1.check,
        check_nodes=v1alpha1.check_nodes,
        render=v1alpha1.render,
        check_fleet=v1alpha1.check_fleet,
        render_fleet=v1alpha1.render_fleet,
    ),
}

FLEET = "v1alpha1"
"""The version whose fleets manage the VMs of all versions there are."""


def render(configuration: Configuration) -> Tree:
    """Return the directory of a VM."""
    provisioner = PROVISIONERS[configuration.vm.provisioner]
    return provisioner.render(provisioner.plan(configuration))
