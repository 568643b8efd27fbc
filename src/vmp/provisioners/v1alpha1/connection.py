"""How the provisioner reaches the libvirt of a node, from the parts of its URI (https://libvirt.org/uri.html)."""

from __future__ import annotations

from vmp.uris import Uri, unquote


def ssh_facts(uri: Uri) -> dict[str, str | bool]:
    """Return how ssh reaches the node of a ``+ssh`` URI, as vm.json has it; nothing for a node without ssh."""
    if not uri.host or uri.transport not in ("ssh", "libssh", "libssh2"):
        return {}
    pairs = [parameter.partition("=") for parameter in uri.parameters]
    parameters = {unquote(name): unquote(value) for name, _, value in pairs}
    openssh = uri.transport == "ssh"
    wanted = "" if openssh else parameters.get("known_hosts_verify", "").lower()
    verify = {"normal": "ask", "auto": "accept-new", "ignore": "no"}.get(wanted, "")
    if parameters.get("no_verify", "0") not in ("", "0"):
        verify = "no"
    command = parameters.get("command", "") if openssh else ""
    return {
        "host": uri.host,
        "user": uri.user,
        "port": uri.port,
        "command": command,
        "keyfile": parameters.get("keyfile", ""),
        "verify": verify,
        "knownHosts": "" if openssh else parameters.get("known_hosts", ""),
        "shared": openssh and not command,
    }


def uri_on_node(uri: Uri) -> str:
    """Return how a process on the node reaches the libvirt of a ``+ssh`` URI; empty for any other URI."""
    if not uri.host or uri.transport != "ssh":
        return ""
    path = uri.path or "/"
    kept = [
        word for word in uri.parameters if word.partition("=")[0] in ("mode", "socket")
    ]  # others: for the way there
    return f"{uri.driver}+unix://{path}?{'&'.join(kept)}" if kept else f"{uri.driver}://{path}"
