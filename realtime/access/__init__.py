"""How somebody is known: tokens, keys, revocations, the audit log. What decides without I/O is in `core.access`."""
