"""Manages one virtual machine on libvirt, or a fleet of them. Written by vmp; runs without it.

What this machine is, vm.json beside this file says, as plain data. This file says what can be done with it, and is
the same for every machine. It needs Python 3.9 and its standard library, and works through virsh, virt-install,
curl and ssh; V=1 shows each of their commands as it is run. `make help` lists the targets.

How to read it: begin with `def up(`. It looks at what libvirt has, decides, and changes one object after the other:
networks, pools, volumes, domain. The other targets do the same. What they use stands above them, each part under a
heading with a line that says what it does. Where each target begins (search for the heading: "= lifecycle ="):

  lifecycle      up, create, build, start, stop, restart, kill, suspend, save, down, delete, clean and their parts
  making         the steps of up: networks and reservations, what is stored (pools, volumes, filling),
                 what they are filled from (image, members, drives), the domain (domain_xml, domain)
  applying       diff and apply: what has changed since (changes), the new definition (graft), the guest (hotplug)
  deletion       the steps of down, after the domain is gone (domain); who uses a volume or a network (users)
  snapshot_targets  snapshot, snapshots, revert, snapshot/delete (snapshots, snapshot_limits, nvram)
  targets        status, ip, ssh, console, exec, help; the table of all targets
  waiting        wait-for-ready
  fleet_targets  up, down, diff, apply, status and list for all machines of a directory
  main           the entry, and --version

What holds everywhere:
- Nothing is remembered between runs. Each run asks libvirt what there is, so a run that was cut off is mended by
  the next one.
- The domain's UUID is known beforehand. A domain of our name with another UUID is somebody else's.
- A value from vm.json is only ever an argument of a program, or quoted for virsh by `quote`. None is evaluated.
- Each decision is taken by lists, XML and exit codes, never by the words of an error message.
- If this process dies, virsh reaches the end of its input and stops: no command runs that was not decided.
"""
