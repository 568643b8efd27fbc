"""The command line. What a command needs beyond parsing its arguments is imported when it runs."""

from __future__ import annotations

import gc
import os
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from vmp import __version__

if TYPE_CHECKING:
    from vmp.compiler import Compiler
    from vmp.diagnostics import Report

F = TypeVar("F", bound=Callable[..., Any])


class Shared:
    """The options that stand before or after the subcommand."""

    def __init__(self) -> None:
        self.registry: tuple[str, ...] = ()
        self.format = "text"

    def locations(self) -> tuple[str, ...]:
        """Return where the registry is: options, else VMP_REGISTRY, else standard input."""
        from vmp.registry import STANDARD_INPUT

        if self.registry:
            return self.registry
        if found := os.environ.get("VMP_REGISTRY"):
            return (found,)
        if sys.stdin is None or sys.stdin.isatty():
            raise click.UsageError(
                "no registry: give --registry FILE, set VMP_REGISTRY, or pipe it in (vmp gen < registry.yaml)"
            )
        return (STANDARD_INPUT,)


class Examples(click.Command):
    """A command whose help ends with examples, kept as they are written."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_examples(self.examples, formatter)


class Commands(click.Group):
    """The program: subcommands, with examples, and exit code 2 for what cannot be parsed."""

    command_class = Examples

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_examples(_PROGRAM_EXAMPLES, formatter)


def _write_examples(examples: str, formatter: click.HelpFormatter) -> None:
    with formatter.section("Examples"):
        for line in examples.strip().splitlines():
            formatter.write(f"  {line}\n" if line else "\n")


_PROGRAM_EXAMPLES = """
vmp gen < registry.yaml          write vm1/Makefile and what it needs
make -C vm1 up console           create the VM, start it, see it boot
vmp --registry registry/ check   report every mistake of a registry in a folder
eval "$(_VMP_COMPLETE=bash_source vmp)"    completion (zsh_source, fish_source)
"""


def _complete_vm(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _completions(ctx, incomplete, lambda compiler: list(compiler.vms))


def _complete_image(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _completions(ctx, incomplete, lambda compiler: compiler.image_references())


def _completions(ctx: click.Context, incomplete: str, names: Callable[[Compiler], list[str]]) -> list[CompletionItem]:
    """Return what the registry knows, and nothing at all where it cannot be read."""
    shared = ctx.ensure_object(Shared)
    locations = shared.registry or tuple(filter(None, [os.environ.get("VMP_REGISTRY")]))
    if not locations or "-" in locations:
        return []  # standard input is the terminal on which somebody types
    compiler, _ = _compiler(shared)
    return [CompletionItem(name) for name in names(compiler) if name.startswith(incomplete)]


def _collect_registry(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    ctx.ensure_object(Shared).registry += value
    return value


def _keep_format(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value:
        ctx.ensure_object(Shared).format = value
    return value


def shared_options(command: F) -> F:
    """Add the options that stand before or after the subcommand."""
    registry = click.option(
        "--registry",
        "-r",
        multiple=True,
        metavar="R",
        type=click.Path(),
        callback=_collect_registry,
        expose_value=False,
        help="The registry: a file, a glob such as 'registry/**/*.yaml', a directory, or - for standard input. "
        "May be given several times; what comes later in the byte order of paths wins. "
        "Default: VMP_REGISTRY, else standard input.",
    )
    format_ = click.option(
        "--format",
        type=click.Choice(["text", "json"]),
        callback=_keep_format,
        expose_value=False,
        help="How configurations and diagnostics are printed. [default: text]",
    )
    return registry(format_(command))


pass_shared = click.make_pass_decorator(Shared, ensure=True)

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=Commands, context_settings=CONTEXT)
@shared_options
@click.version_option(__version__, "--version", message="%(version)s")
def program() -> None:
    """Compile a YAML registry of virtual machines into one directory per VM, with a Makefile that
    creates, starts, reaches, stops and deletes it on libvirt."""


_GEN_EXAMPLES = """
vmp gen < registry.yaml              all VMs of one file, here
vmp gen --registry registry/ web db  two VMs of a registry in a folder
vmp gen --base-dir out --registry 'registry/**/*.yaml'
vmp gen --fleet && make -j4 up       a Makefile for all of them, too
vmp gen --check                      is what is there what the registry gives?
"""


@program.command(examples=_GEN_EXAMPLES)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=_complete_vm)
@click.option(
    "--base-dir",
    "-d",
    metavar="D",
    type=click.Path(),
    envvar="VMP_GEN_BASE_DIR",
    default=".",
    show_default=True,
    help="Where the directories of the VMs go. Environment: VMP_GEN_BASE_DIR.",
)
@click.option(
    "--fleet",
    is_flag=True,
    help="Also write D/Makefile, and D/.fleet which it needs: 'make up', 'down' and 'status' of all the VMs that this "
    "command writes. Without it, a fleet that is there stays as it is.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing. Name each file that is not byte for byte as it would be written, and end with exit code 1 if "
    "there is one. Passwords that a repository leaves out may be missing.",
)
@shared_options
@pass_shared
def gen(shared: Shared, names: tuple[str, ...], base_dir: str, fleet: bool, check: bool) -> None:
    """Write the provisioners of the named VMs, or of all.

    Either everything is written or, after any mistake, nothing. Files that do not change keep their time."""
    from vmp.provisioners import FLEET, PROVISIONERS, render
    from vmp.tree import differences, others, write_trees

    compiler, report = _compiler(shared)
    configurations = compiler.compile(compiler.select(names))
    if fleet:
        places = {item.vm.name: compiler.vms[item.vm.name].entries["name"].value.span for item in configurations}
        PROVISIONERS[FLEET].check_fleet(places, report)
    _stop_if_wrong(report, shared)
    trees = {item.vm.name: render(item) for item in configurations}
    if fleet:
        trees[""] = PROVISIONERS[FLEET].render_fleet(list(trees))
    base = os.path.expanduser(base_dir) or "."
    if check:
        differing = differences(base, trees)
        sys.stderr.write("".join([f"{place}: is not as 'vmp gen' writes it\n" for place in differing]))
        sys.exit(1 if differing else 0)
    try:
        write_trees(base, trees)
    except (OSError, ValueError) as error:
        place = getattr(error, "filename", None) or base
        report.error("cannot-write", f"{place}: {getattr(error, 'strerror', None) or error}")
        _stop_if_wrong(report, shared)
    lines = [f"Generated {os.path.normpath(os.path.join(base, name, 'Makefile'))}\n" for name in trees]
    sys.stderr.write("".join(lines))
    if fleet:
        for name in others(base, compiler.vms):
            place = shlex.quote(os.path.normpath(os.path.join(base, name)))
            message = f"{place} belongs to no VM of the registry any more: run make -C {place} down, then delete it\n"
            sys.stderr.write(message)


_CONFIG_EXAMPLES = """
vmp config web --registry registry/
vmp config web --format json | jq .vm.libvirt.domain
"""


@program.command(examples=_CONFIG_EXAMPLES)
@click.argument("name", shell_complete=_complete_vm)
@shared_options
@pass_shared
def config(shared: Shared, name: str) -> None:
    """Print everything about one VM: merged, expanded, defaults filled in. Secrets are printed too."""
    from vmp.document import to_json, to_yaml

    compiler, report = _compiler(shared)
    configurations = compiler.compile(compiler.select([name]))
    _stop_if_wrong(report, shared)
    plain = configurations[0].plain()
    _print(to_json(plain) if shared.format == "json" else to_yaml(plain))


@program.command("image-url", examples="vmp image-url debian:12 --registry registry/\n")
@click.argument("image", shell_complete=_complete_image)
@shared_options
@pass_shared
def image_url(shared: Shared, image: str) -> None:
    """Print the URL of an image, NAME[:TAG]; the tag is 'latest' when left out."""
    compiler, report = _compiler(shared)
    found = compiler.images.find(image, None)
    _stop_if_wrong(report, shared)
    assert found is not None
    _print(f"{found.image.url}\n")


@program.command("list", examples='vmp list --registry registry/\nfor vm in $(vmp list); do make -C "$vm" up; done\n')
@shared_options
@pass_shared
def list_vms(shared: Shared) -> None:
    """Print the names of all VMs in registry order, one a line."""
    compiler, report = _compiler(shared)
    _stop_if_wrong(report, shared)
    _print("".join(f"{name}\n" for name in compiler.vms))


_CHECK_EXAMPLES = """
vmp check < registry.yaml
vmp check --registry registry/ --format json
"""


@program.command(examples=_CHECK_EXAMPLES)
@shared_options
@pass_shared
def check(shared: Shared) -> None:
    """Report every mistake of the whole registry; write nothing."""
    compiler, report = _compiler(shared)
    compiler.compile(compiler.select(()))
    _stop_if_wrong(report, shared)


@program.command(examples="vmp schema > registry.schema.json\n")
@shared_options
def schema() -> None:
    """Print the JSON Schema of a registry file, for editors."""
    import json

    from vmp.schema import json_schema

    _print(json.dumps(json_schema(), indent=2) + "\n")


@program.command(examples="vmp version\n")
@shared_options
def version() -> None:
    """Print the version."""
    _print(f"{__version__}\n")


def _compiler(shared: Shared) -> tuple[Compiler, Report]:
    from vmp.compiler import Compiler
    from vmp.diagnostics import Report
    from vmp.registry import load

    report = Report()
    root = load(shared.locations(), report)
    return Compiler(root, report), report


def _stop_if_wrong(report: Report, shared: Shared) -> None:
    if not report:
        return
    from vmp.rendering import to_json, to_text

    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    sys.stderr.write(to_json(report) if shared.format == "json" else to_text(report, colour))
    raise SystemExit(1)


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _discard(stream: Any) -> None:
    """Let go of what a stream still holds, so that the interpreter does not fail over it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _complain(message: str) -> None:
    try:
        sys.stderr.write(message)
    except OSError:
        _discard(sys.stderr)


def main() -> None:
    """Run the program. Exit codes: 0 fine, 1 the registry is wrong, 2 usage, 3 a bug, 130 Ctrl+C."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  # closed by the caller
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    if "_VMP_COMPLETE" in os.environ:
        from vmp.completion import register

        register()
    gc.disable()  # nodes hold no cycles, and looking for some took a fifth of the time of a large registry
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        program.main(prog_name="vmp", standalone_mode=False)
        code = 0
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort):
        code = 130
    except OSError as error:  # the reader of the output went away, or the disk under it is full
        _discard(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            _complain(f"vmp: error: {error.strerror or error}\n")
        code = 1
    except MemoryError:
        sys.stderr.write("vmp: error: out of memory\n")
        code = 1
    except SystemExit:
        raise
    except Exception as error:
        import traceback

        if os.environ.get("VMP_DEBUG"):
            traceback.print_exc()
        sys.stderr.write(f"vmp: a bug in vmp {__version__}: {type(error).__name__}: {error}\n")
        sys.stderr.write("Run it again with VMP_DEBUG=1 and report what it prints, with the registry if you can.\n")
        code = 3
    sys.exit(code)
