"""How the provisioner reaches the libvirt of a node, from the parts of its URI (https://libvirt.org/uri.html)."""

from __future__ import annotations

from vmp.provisioners.v1alpha1.plan import Connection


def ssh_facts(connection: Connection) -> dict[str, str | bool]:
    """Return how ssh reaches the node of a ``+ssh`` URI, as vm.json has it; nothing for a node without ssh."""
    if not connection.host or connection.transport not in ("ssh", "libssh", "libssh2"):
        return {}
    from urllib.parse import unquote  # only remote nodes pay for it

    pairs = [parameter.partition("=") for parameter in connection.parameters]
    parameters = {unquote(name): unquote(value) for name, _, value in pairs}
    openssh = connection.transport == "ssh"
    wanted = "" if openssh else parameters.get("known_hosts_verify", "").lower()
    verify = {"normal": "ask", "auto": "accept-new", "ignore": "no"}.get(wanted, "")
    if parameters.get("no_verify", "0") not in ("", "0"):
        verify = "no"
    command = parameters.get("command", "") if openssh else ""
    return {
        "host": connection.host,
        "user": connection.user,
        "port": connection.port,
        "command": command,
        "keyfile": parameters.get("keyfile", ""),
        "verify": verify,
        "knownHosts": "" if openssh else parameters.get("known_hosts", ""),
        "shared": openssh and not command,
    }


def uri_on_node(connection: Connection) -> str:
    """Return how a process on the node reaches the libvirt of a ``+ssh`` URI; empty for any other URI."""
    if not connection.host or connection.transport != "ssh":
        return ""
    path = connection.path or "/"  # the other parameters are for the way there
    kept = [word for word in connection.parameters if word.partition("=")[0] in ("mode", "socket")]
    return f"{connection.driver}+unix://{path}?{'&'.join(kept)}" if kept else f"{connection.driver}://{path}"
