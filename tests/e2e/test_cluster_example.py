"""The example of a cluster, with the tiny guest in place of Debian: fixed addresses, names, and nothing that stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from networked import ask_dns
from world import ROOT, Vm, generate, inventory, network_names, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")


def test_the_members_of_the_cluster_have_their_addresses_and_names(tiny_disk: Path, ssh_key: Path, base: Path) -> None:
    registry = yaml.safe_load((ROOT / "examples/cluster/registry.yaml").read_text())
    registry["images"][0]["tags"] = [{"pattern": "13", "url": f"file://{tiny_disk}", "volumeName": tiny_disk.name}]
    (member,) = registry["templates"]
    member["vars"]["SSH_PUBLIC_KEY"] = ssh_key.with_suffix(".pub").read_text().strip()
    member["ssh"] = {"user": "debian", "options": {"IdentityFile": str(ssh_key), "IdentitiesOnly": "yes"}}
    member["cloudInit"]["noCloud"]["data"]["user-data"] = {
        "users": [{"name": "debian", "ssh_authorized_keys": ["{SSH_PUBLIC_KEY}"]}]
    }
    member["libvirt"]["domain"]["virtInstall"]["memory"] = 128
    before = inventory()
    vms = generate(yaml.safe_dump(registry, sort_keys=False), base, "--fleet")
    fleet = Vm(base)
    assert fleet.make("-j3", "up").stderr.count("created network cluster") == 1
    for number in (1, 2, 3):
        node = vms[f"node-{number}"]
        node.make("wait-for-ready")
        assert f" 10.30.0.1{number}/24 " in node.ssh("ip -4 -o addr show dev eth0")
        assert ask_dns("10.30.0.1", f"node-{number}.cluster.test") == [f"10.30.0.1{number}"]
    assert ask_dns("10.30.0.1", "registry.cluster.test") == ["10.30.0.1"]
    assert vms["node-1"].ssh("nc -w 9 10.30.0.13 22 </dev/null | head -c 4") == "SSH-", "they reach each other"
    assert fleet.make("-j3", "down").stderr.count("deleted network cluster") == 1
    assert "cluster" not in network_names()
    virsh("vol-delete", "--pool", "default", "--vol", tiny_disk.name)
    assert inventory() == before
