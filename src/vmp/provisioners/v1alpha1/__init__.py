"""Provisioner v1alpha1: a Makefile and a Python program around virsh, virt-install and ssh.

All code in a generated directory is the same for every VM: ``files/Makefile``, and the modules of ``runtime/`` joined
into provisioner.py. What differs is vm.json, which is data.
"""

from vmp.provisioners.v1alpha1.check import check
from vmp.provisioners.v1alpha1.check_nodes import check_nodes
from vmp.provisioners.v1alpha1.fleet import check_fleet, render_fleet
from vmp.provisioners.v1alpha1.render import render

__all__ = ["check", "check_fleet", "check_nodes", "render", "render_fleet"]
