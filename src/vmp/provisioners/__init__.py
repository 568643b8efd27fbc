"""The provisioners by the name that a registry gives. Versions never import each other."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from typing import Protocol

from vmp.configuration import Configuration
from vmp.diagnostics import Report, Span
from vmp.nodes import Mapping
from vmp.provisioners import v1alpha1
from vmp.tree import Tree


class Provisioner(Protocol):
    """What a version of the generated directory's format has to offer."""

    def check(self, configuration: Configuration, vm: Mapping, report: Report) -> None:
        """Report what this version cannot do; ``vm`` has the places of the values."""

    def render(self, configuration: Configuration) -> Tree:
        """Return the directory. Called only for what :meth:`check` found nothing wrong with."""

    def check_fleet(self, places: MappingOf[str, Span], report: Report) -> None:
        """Report VMs that cannot be managed together because of their names; ``places`` has where these are written."""

    def render_fleet(self, names: Iterable[str]) -> Tree:
        """Return what manages the VMs of these names together, to stand in the directory that holds theirs."""


PROVISIONERS: dict[str, Provisioner] = {"v1alpha1": v1alpha1}

FLEET = "v1alpha1"
"""The version whose fleets manage the VMs of all versions there are."""
