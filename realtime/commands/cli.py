"""The command line. A command is imported when it is run: `realtime --version` needs no driver and no framework."""

from __future__ import annotations

import importlib
import signal
import sys
from typing import Any

import click

from realtime import __version__

COMMANDS = {
    "serve": (
        "realtime.commands.service:serve",
        "Serve a MongoDB replica set; without a URI an embedded one, for development.",
    ),
    "demo": (
        "realtime.commands.service:demo",
        "Serve, and write this machine's own figures and a small shop's orders, to watch them live.",
    ),
    "relay": (
        "realtime.commands.relay:relay",
        "Publish the changes of a database to NATS, once, for any number of nodes.",
    ),
    "tail": ("realtime.commands.tail:tail", "Print what happens in COLLECTION as it happens; '*' is every collection."),
    "doctor": (
        "realtime.commands.service:examine",
        "Examine a MongoDB: is it fit to be served, and what should be mended? With --nats, the NATS beside it too.",
    ),
    "images": (
        "realtime.commands.service:images",
        "Pre- and post-images of a collection: what a document was before a change, and after it.",
    ),
    "token": (
        "realtime.commands.access:token",
        "Print a token, signed with the configured secret, to try things or for a program.",
    ),
    "key": ("realtime.commands.access:key", "Keys for programs: create one, list them, revoke one."),
    "revoke": (
        "realtime.commands.access:revoke",
        "End a user's connections, a token or a key on all nodes, now and from now on.",
    ),
    "rules": (
        "realtime.commands.rules:rules",
        "Rules: check a file, and explain what they let somebody do.",
    ),
    "bench": (
        "realtime.commands.bench:bench",
        "Measure a deployment: connections, writes, deliveries; from write to delivery, exactly counted.",
    ),
    "worker": ("realtime.commands.service:work", ""),
    "bench-load": ("realtime.commands.bench:load", ""),
}
"""Where each command is, and what it is for; without that it is of our own use and not shown."""
INTERRUPTED_EXIT = 128 + signal.SIGINT


class Deferred(click.Group):
    """A group whose commands are imported when they are run, and not to be listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Those for users, in the order in which they are met."""
        return [name for name, (_, text) in COMMANDS.items() if text]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        # From here on somebody catches it: see `invoke`.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        """Ctrl-C that no command took over: nothing was served yet, and there is nothing to say."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED_EXIT)


@click.group(cls=Deferred, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="realtime")
def main() -> None:
    """Live MongoDB queries for browsers and programs.

    Everything that can be set for the service is also an environment variable, REALTIME_ and the option's name in
    capitals; docs/settings.md lists those that have no option.
    """
