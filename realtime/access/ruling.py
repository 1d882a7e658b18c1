"""The rules that a service is started with: from a file, or given by the application that embeds it."""

from __future__ import annotations

import logging

from realtime.access.rules_file import RulesFile
from realtime.core.access.rules.checking import check
from realtime.core.access.rules.model import Rules
from realtime.core.access.rules.policy import Policy
from realtime.core.access.rules.text import parse
from realtime.errors import ConfigurationError
from realtime.settings import Settings

log = logging.getLogger("realtime.access")

IDLE = "these rules let nothing: what has no grant is nobody's, so everybody who asks for something is refused"


def policy_of(settings: Settings, given: Rules | None, served: frozenset[str] | None) -> Policy | None:
    """The rules that hold; None where there are none, and then everybody may do everything.

    `served`: the collections that are; None: all. `ConfigurationError` says what is wrong, with its line.
    """
    if given is None:
        if settings.rules is None:
            return None
        return Policy(heeded(read(RulesFile(settings.rules), served)), settings.membership_values)
    if settings.rules is not None:
        raise ConfigurationError(
            "rules come from Realtime(rules=…) or from a file (--rules / REALTIME_RULES): choose one"
        )
    return Policy(heeded(checked(given, served)), settings.membership_values)


def heeded(rules: Rules) -> Rules:
    """The same, which are about to hold; a warning of those that let nothing, as of a file that is empty."""
    if rules.idle:
        log.warning(IDLE)
    return rules


def checked(given: Rules, served: frozenset[str] | None) -> Rules:
    """The rules of an application. `ConfigurationError` says what is wrong with them."""
    problems = check(given, served)
    if problems:
        raise ConfigurationError("\n".join(f"rules: {problem}" for problem in problems))
    return given


def read(file: RulesFile, served: frozenset[str] | None) -> Rules:
    """The rules of a file. `ConfigurationError` names it, and the line of whatever is wrong."""
    return parse(file.read(), str(file.path), served)
