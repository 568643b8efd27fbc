"""Provisioner v1alpha1: a Makefile and shell scripts around virsh, virt-install and ssh.

All code in a generated directory is the static code below ``files/``; what is generated of shell, ``vm.sh``
and where the node downloads the image ``on-node.sh``, holds nothing but quoted facts.
"""

from vmp.provisioners.v1alpha1.check import check
from vmp.provisioners.v1alpha1.fleet import check_fleet, render_fleet
from vmp.provisioners.v1alpha1.render import render

__all__ = ["check", "check_fleet", "render", "render_fleet"]
