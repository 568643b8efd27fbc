"""Write docs/reference/ from the code: registry fields, diagnostics, command line. ``--check``: compare only."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from vmp.cli import CONTEXT, Examples, program
from vmp.diagnostics import CODES
from vmp.schema import BUILT_IN_VARIABLES, REGISTRY
from vmp.shapes import Key, ListOf, Record, Shape
from vmp.texts import FIXED_VARIABLES
from vmp.virt_install import RESERVED_OPTIONS, VIRT_INSTALL_OPTIONS, Item

DIRECTORY = Path(__file__).parent.parent / "docs" / "reference"
NOTE = "<!-- Written by `make reference` from the code; do not edit. -->\n"


def registry_page() -> str:
    """Return the reference of all registry fields."""
    lines = [
        "# Registry fields\n",
        NOTE,
        "Keys marked `*` are required: in a VM, once templates are merged in; `name` everywhere. "
        "Where a string is wanted, a number or boolean is taken as it is spelled. "
        "null is the same as leaving the key out, and removes what is inherited. "
        "How values are inherited and expanded: [merging and variables](merging-and-variables.md). "
        "For your editor: `vmp schema > registry.schema.json`.\n",
    ]
    records: dict[str, Record[Any]] = {}
    _collect(REGISTRY, records)
    for name, record in records.items():
        lines.append(f"## {name}\n\n{' '.join((record.into.__doc__ or '').split())}\n")
        lines.append("| key | type | default | meaning |\n|---|---|---|---|")
        for key_name, key in record.keys.items():
            star = " `*`" if key.required else ""
            lines.append(f"| `{key_name}`{star} | {key.shape.summary()} | {_default(key)} | {key.doc} |")
        lines.append("")
    lines.append("## Variables that every VM has\n")
    lines.append("| variable | value |\n|---|---|")
    lines += [f"| `{name}` | `{value}`, unless `vars` sets it |" for name, value in BUILT_IN_VARIABLES.items()]
    lines += [f"| `{name}` | computed; cannot be set |" for name in FIXED_VARIABLES]
    lines.append("\n## Options of virt-install\n")
    lines.append("`virtInstall` takes " + ", ".join(f"`{name}`" for name in sorted(VIRT_INSTALL_OPTIONS)) + ".\n")
    lines.append("It refuses:\n")
    lines += [f"- `{name}`: {why}." for name, why in sorted(RESERVED_OPTIONS.items())]
    return "\n".join(lines) + "\n"


def _collect(record: Record[Any], records: dict[str, Record[Any]]) -> None:
    if record.name in records:
        return
    records[record.name] = record
    for key in record.keys.values():
        shape: Shape[Any] = key.shape
        while isinstance(shape, ListOf):
            shape = shape.item
        if isinstance(shape, Record):
            _collect(shape, records)
        elif key.attribute == "virt_install":
            _collect(Record(Item), records)


def _default(key: Key) -> str:
    if key.default is None or key.default in ((), {}):
        return "`{}`" if key.default == {} else ""
    return f"`{key.default}`"


def diagnostics_page() -> str:
    """Return the reference of all diagnostics."""
    lines = [
        "# Diagnostics\n",
        NOTE,
        "Each mistake has a code that stays the same over releases. `vmp check` reports all of a registry at once; "
        "`--format json` prints them as a list of objects with `code`, `message`, `file`, `line`, `column`, "
        "`end_line`, `end_column`, `help` and `note`.\n",
        "| code | meaning |\n|---|---|",
    ]
    lines += [f"| `{code}` | {meaning} |" for code, meaning in sorted(CODES.items())]
    return "\n".join(lines) + "\n"


def command_line_page() -> str:
    """Return the reference of the command line: what ``-h`` prints."""
    lines = [
        "# Command line\n",
        NOTE,
        "Exit codes: 0 fine, 1 the registry or a file is wrong, 2 usage, 3 a bug in vmp, 130 Ctrl+C. "
        "The options `--registry` and `--format` stand before or after the subcommand.\n",
        "| environment | meaning |\n|---|---|",
        "| `VMP_REGISTRY` | the registry, where `--registry` is not given |",
        "| `VMP_GEN_BASE_DIR` | where `gen` writes, where `--base-dir` is not given |",
        "| `NO_COLOR` | no colour, on a terminal too |",
        "| `VMP_DEBUG` | print the traceback of a bug |\n",
        _help(program, "vmp", None),
    ]
    parent = click.Context(program, info_name="vmp", **CONTEXT)
    for name, command in program.commands.items():
        assert isinstance(command, Examples)
        lines.append(_help(command, name, parent))
    return "\n".join(lines)


def _help(command: click.Command, name: str, parent: click.Context | None) -> str:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=100, **CONTEXT)
    return f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"


def main() -> int:
    """Write the pages, or say which are not current."""
    pages = {
        "registry.md": registry_page(),
        "diagnostics.md": diagnostics_page(),
        "command-line.md": command_line_page(),
    }
    stale = []
    for name, text in pages.items():
        path = DIRECTORY / name
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        print(f"docs/reference: {', '.join(stale)} not current; run 'make reference'", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
