"""What v1alpha1 is handed: records of its own, from which it checks and renders without any schema."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from vmp.diagnostics import Report, Span
from vmp.nodes import Mapping
from vmp.provisioners import v1alpha1
from vmp.provisioners.v1alpha1 import plan as records
from vmp.provisioners.v1alpha1.options import disks_of, networks_of, split_suboptions, uses

PLAN = records.Plan(
    name="web",
    node=records.Node(
        name="here",
        connection=records.Connection("qemu:///system", "qemu", "", "", "", "", "/system", ()),
        downloads=False,
    ),
    domain=records.Domain(name="web", options={}, disks=(), networks=()),
    image=records.Image("debian:12", "https://example.org/12", "debian-12.qcow2", archive=None, checksum=None),
    seed=None,
    pools=(),
    volumes=(),
    ssh=None,
    settings={},
)
NOWHERE = Span("registry.yaml", 1, 1, 1, 1)


def vm_json(plan: records.Plan) -> dict[str, Any]:
    report = Report()
    v1alpha1.check(plan, Mapping({}, NOWHERE), report)
    assert not report.diagnostics
    content: dict[str, Any] = json.loads(v1alpha1.render(plan)["vm.json"].content)
    return content


def test_a_plan_is_all_that_checking_and_rendering_need_and_what_is_not_set_is_not_written() -> None:
    assert vm_json(PLAN) == {
        "format": 1,
        "name": "web",
        "node": "here",
        "connection": {"uri": "qemu:///system"},
        "domain": {
            "name": "web",
            "uuid": "40f5a3b2-24c5-826f-8387-7198e4624467",
            "virtInstall": ["--name=web", "--uuid=40f5a3b2-24c5-826f-8387-7198e4624467", "--import"],
        },
        "image": {"reference": "debian:12", "url": "https://example.org/12"},
    }


def test_the_disks_of_a_plan_say_which_volumes_no_guest_writes_to() -> None:
    volume = records.Volume("pool", "disk", "qcow2", retained=True, capacity="1G", file="", backing=None)
    domain = PLAN.domain._replace(disks=(records.Disk("pool/disk", read_only=True),))
    facts = vm_json(PLAN._replace(domain=domain, volumes=(volume,)))
    assert facts["domain"]["volumes"] == ["pool/disk"] and "askEachTime" not in facts["domain"]
    assert facts["volumes"][0]["readOnly"] is True and facts["volumes"][0]["deletionPolicy"] == "Retain"
    facts = vm_json(PLAN._replace(domain=domain))
    assert facts["domain"]["askEachTime"] is True, "the volume is not declared: what it is, only the node knows"


def test_a_member_that_is_no_disk_is_written_by_no_guest() -> None:
    volume = records.Volume("pool", "kernel", "raw", False, "", file="a.iso", backing=None, member="vmlinuz")

    def read_only(volume: records.Volume, *disks: records.Disk, install: tuple[records.Disk, ...] = ()) -> bool:
        plan = PLAN._replace(domain=PLAN.domain._replace(disks=disks), volumes=(volume,))
        plan = plan._replace(install=PLAN.domain._replace(disks=install)) if install else plan
        facts = json.loads(v1alpha1.render(plan)["vm.json"].content)
        return facts["volumes"][0].get("readOnly", False) is True

    written, other = records.Disk("pool/kernel", read_only=False), records.Disk("pool/other", read_only=False)
    assert read_only(volume) and read_only(volume, other, install=(other,))
    assert not read_only(volume, written) and not read_only(volume, other, install=(written,))
    assert not read_only(volume, records.Disk("", read_only=False)), "a disk given by its path may be any volume"
    assert not read_only(volume._replace(member="")), "it may be a disk that is attached by hand"


def test_the_own_ssh_of_a_vm_wins_over_the_knob_of_a_node() -> None:
    ssh = records.Ssh(user="me", options={})
    for own, user in ((False, "me"), (True, "knob")):
        settings = {"V1ALPHA1_SSH_USER": records.Setting("knob", own, None)}
        assert vm_json(PLAN._replace(ssh=ssh, settings=settings))["knobs"] == {"V1ALPHA1_SSH_USER": user}


def test_a_place_that_is_not_in_the_registry_is_that_of_the_vm() -> None:
    report = Report()
    pool = records.Pool("pool", "/pool", retained=False)
    v1alpha1.check(PLAN._replace(pools=(pool, pool)), Mapping({}, NOWHERE), report)
    assert [(found.code, found.span) for found in report.diagnostics] == [("duplicate-name", NOWHERE)]


def test_options_read_the_same_as_text_and_as_a_list() -> None:
    items = (records.Item("cd", {"vol": "p/cd", "device": "cdrom"}), records.Item("x", {"path": "/x", "boot": False}))
    assert disks_of({"disk": items}) == (records.Disk("p/cd", True), records.Disk("", False))
    assert disks_of({"disk": "vol=p/cd,device=cdrom"}) == (records.Disk("p/cd", True),)
    assert disks_of({"disk": "vol=p/d,readonly"}) == (records.Disk("p/d", True),)
    assert disks_of({"disk": "none"}) == disks_of({}) == ()
    assert networks_of({"network": "network=lan"}) == ("lan",)
    assert networks_of({"network": (records.Item("a", {"network": "lan"}), records.Item("b", {"user": True}))}) == (
        "lan",
    )
    assert uses({"disk": "vol='open"}, "disk") == []


@pytest.mark.parametrize(
    "text", ["", "a", "a=b,c", ",,a,,b,", "a b= c ,\td", "#a;(b)$c,`d`", "a=ü\0,\n", '=\'a,b\',"c\\""']
)
def test_options_are_split_as_virt_install_splits_them(text: str) -> None:
    splitter = shlex.shlex(text, posix=True)
    splitter.commenters, splitter.whitespace, splitter.whitespace_split = "", ",", True
    assert split_suboptions(text) == list(splitter)
