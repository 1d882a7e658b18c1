"""Rows of `make sabotage` for who asks: name, file, line, what stands there instead, test."""

from __future__ import annotations

TOKENS, LIMITS, REVOKED = (f"realtime/core/access/{name}.py" for name in ("tokens", "limits", "revoked"))
KEYS, JWKS, VERIFYING = "realtime/core/access/keys.py", "realtime/access/jwks.py", "realtime/access/verifying.py"
JWTS, KEYRING, CHAIN, AUDIT = (f"realtime/access/{name}.py" for name in ("jwts", "keyring", "chain", "audit"))
FOLLOWED, OWN, WEB_OWN = "realtime/access/revocations.py", "realtime/hub/own.py", "realtime/web/entrance/own.py"
TOKENS_TEST, LIMITS_TEST = "tests/core/access/test_tokens.py", "tests/core/access/test_limits.py"
JWTS_TEST, JWKS_TEST, SERVICE_TEST = (f"tests/access/test_{name}.py" for name in ("jwts", "jwks", "service"))
KEYRING_TEST, CHAIN_TEST, AUDIT_TEST = (f"tests/access/test_{name}.py" for name in ("keyring", "chain", "audit"))
FOLLOWED_TEST, OWN_TEST = "tests/access/test_revocations.py", "tests/hub/test_own.py"
MATRIX = f"{JWTS_TEST}::test_each_token_is_let_in_or_refused_by_its_word"

COMMANDS, COMMANDS_TEST = "realtime/commands/access.py", "tests/commands/test_access.py"

SEEN, SEEN_TEST = "realtime/core/access/seen.py", "tests/core/access/test_seen.py"
ONCE = f"{JWTS_TEST}::test_a_signature_is_computed_once_and_all_else_is_asked_each_time"

ACCESS: list[tuple[str, str, str, str, str]] = [
    (
        "access: a signature is computed each time",
        JWTS,
        "self._seen.add(token, key, payload)",
        "pass",
        ONCE,
    ),
    (
        "access: who was seen is let in by whatever key",
        SEEN,
        "if found is None or found[0] is not key:",
        "if found is None:",
        ONCE,
    ),
    (
        "access: what was seen is kept without a bound",
        SEEN,
        "while self._bytes > self._most_bytes:",
        "while False:",
        f"{SEEN_TEST}::test_it_keeps_no_more_than_it_may_and_whoever_was_not_seen_for_longest_goes",
    ),
    (
        "access: a token is known by its beginning",
        SEEN,
        "return hashlib.sha256(token.encode()).digest()",
        "return hashlib.sha256(token.rpartition('.')[0].encode()).digest()",
        ONCE,
    ),
    (
        "access: what is remembered lets in whoever reads it",
        SEEN,
        "return hashlib.sha256(token.encode()).digest()",
        "return token.encode()",
        f"{SEEN_TEST}::test_nothing_that_is_kept_lets_anybody_in",
    ),
    (
        "access: a key that is not there is said to be revoked",
        COMMANDS,
        'if revocation.kind == "key":',
        "if False:",
        f"{COMMANDS_TEST}::test_a_key_that_is_not_there_is_not_said_to_be_revoked",
    ),
    (
        "access: a database of nobody's is taken without a word",
        COMMANDS,
        "if not await known(database, Gate(_SECONDS)):",
        "if False:",
        f"{COMMANDS_TEST}::test_a_database_that_no_service_used_is_named_with_the_option_for_another",
    ),
    (
        "access: an expired token is good",
        TOKENS,
        "if now >= expires + LEEWAY_SECONDS:",
        "if False:",
        f"{MATRIX}[HS256]",
    ),
    (
        "access: a token need not end",
        TOKENS,
        "if expires is None:",
        "if False:",
        f"{TOKENS_TEST}::test_what_is_required_is_required",
    ),
    (
        "access: a token of the future is good",
        TOKENS,
        "max(not_before or 0.0, issued or 0.0)",
        "max(not_before or 0.0, 0.0)",
        f"{TOKENS_TEST}::test_a_token_of_the_future_is_refused_for_it_would_outlive_a_revocation",
    ),
    (
        "access: an audience that is nobody's is taken",
        TOKENS,
        "if said is not None and (wanted is None or wanted not in named):",
        "if said is not None and (wanted is not None and wanted not in named):",
        f"{TOKENS_TEST}::test_the_audience_is_named_or_among_those_named_and_one_that_is_not_ours_is_refused",
    ),
    (
        "access: the issuer does not matter",
        TOKENS,
        'claims.get("iss") != demands.issuer',
        "False",
        f"{MATRIX}[ES256]",
    ),
    (
        "access: a token of any size is looked into",
        TOKENS,
        "if len(token) > MAX_TOKEN_BYTES:",
        "if False:",
        f"{MATRIX}[RS256]",
    ),
    (
        "access: what must be understood is not looked at",
        TOKENS,
        'if "crit" in fields or "b64" in fields:',
        "if False:",
        f"{TOKENS_TEST}::test_what_is_no_token_is_malformed",
    ),
    (
        "access: the token says by which algorithm",
        JWTS,
        "return (self._key,) if algorithm == self._key.algorithm else ()",
        "return (self._key,)",
        f"{MATRIX}[EdDSA]",
    ),
    (
        "access: any secret will do",
        VERIFYING,
        "if size < LEAST_SECRET_BYTES:",
        "if False:",
        "tests/access/test_verifying.py::test_a_secret_that_is_no_secret_is_refused_with_the_mend",
    ),
    (
        "access: a symmetric key of a set is taken",
        VERIFYING,
        'if fields.get("kty") not in {"RSA", "EC", "OKP"}:',
        'if fields.get("kty") in {"RSA"}:',
        "tests/access/test_verifying.py::test_of_a_set_those_that_verify_are_taken_and_the_others_left",
    ),
    (
        "access: each token fetches the set",
        JWKS,
        "wait = 0.0 if self._fetching is not None else self._pacer.wait(now)",
        "wait = 0.0 if self._fetching is not None else 0.0",
        f"{JWKS_TEST}::test_keys_that_change_beside_a_flood_of_invented_names_refuse_no_good_token",
    ),
    (
        "access: an unknown key is refused without a look",
        JWKS,
        "if self._fetched_at >= came:",
        "if self._keys is not None:",
        f"{JWKS_TEST}::test_a_new_key_is_found_by_the_first_token_that_names_it_and_an_old_one_is_let_in_no_longer",
    ),
    (
        "access: the checksum of a key does not matter",
        KEYS,
        "return _check(digits[:_SECRET_DIGITS]) == digits[_SECRET_DIGITS:]",
        "return True",
        "tests/core/access/test_keys.py::test_one_wrong_character_is_told_by_the_checksum",
    ),
    (
        "access: what is remembered of keys grows",
        KEYRING,
        "if len(self._remembered) > MOST_REMEMBERED:",
        "if False:",
        f"{KEYRING_TEST}::test_what_is_remembered_is_bounded",
    ),
    (
        "access: every use of a key is written",
        KEYRING,
        "< USED_SECONDS:",
        "< 0:",
        f"{KEYRING_TEST}::test_the_last_use_is_written_once_a_minute",
    ),
    (
        "access: a revoked key is good",
        KEYRING,
        "if record.revoked is not None:",
        "if False:",
        f"{KEYRING_TEST}::test_known_keys_are_remembered_for_a_moment_and_unknown_ones_longer",
    ),
    (
        "access: whoever is revoked gets in",
        CHAIN,
        "if reason is not None:",
        "if False:",
        f"{CHAIN_TEST}::test_whoever_is_revoked_or_over_is_refused_whatever_way_they_came",
    ),
    (
        "access: before revocations are read everybody gets in",
        FOLLOWED,
        "if not (self._known and self._fresh()):",
        "if not self._fresh():",
        f"{FOLLOWED_TEST}::test_until_they_are_read_nobody_is_let_in",
    ),
    (
        "access: a silent stream lets everybody in",
        FOLLOWED,
        "if not (self._known and self._fresh()):",
        "if not self._known:",
        f"{SERVICE_TEST}::test_while_mongodb_is_away_nobody_gets_in_and_afterwards_everybody_does",
    ),
    (
        "access: who ended meanwhile is not told of",
        FOLLOWED,
        "        self._say(self._has_ended)\n",
        "        pass\n",
        f"{FOLLOWED_TEST}::test_who_ended_while_they_were_unknown_is_told_of_once_they_are_read",
    ),
    (
        "access: a token of before the revocation is good",
        REVOKED,
        "principal.issued <= max(named.values())",
        "principal.issued < min(named.values())",
        "tests/core/access/test_revoked.py::test_the_newest_of_several_counts_and_what_is_removed_counts_no_longer",
    ),
    (
        "access: a node that serves named collections hears of no revocation",
        "realtime/mongo/replies.py",
        "sorted({*collections, *OWN})",
        "sorted({*collections})",
        f"{SERVICE_TEST}::test_whoever_writes_a_revocation_ends_a_token",
    ),
    (
        "access: after a resync what was known still is",
        OWN,
        "            self._arriving, self._parts = {}, {}\n            self._follower.unknown()\n",
        "            self._arriving, self._parts = {}, {}\n",
        f"{OWN_TEST}::test_after_lost_history_and_after_a_drop_it_is_unknown_until_it_is_read_again[lost]",
    ),
    (
        "limits: who is over takes more",
        LIMITS,
        "        if over > _ROUNDING:\n            return over\n        self._full_at = full_at\n",
        "        self._full_at = full_at\n        if over > _ROUNDING:\n            return over\n",
        f"{LIMITS_TEST}::test_who_is_over_takes_nothing_so_that_the_wait_is_true",
    ),
    (
        "limits: buckets grow with the number of callers",
        LIMITS,
        "return len(self._full_at) < self._most",
        "return True",
        f"{LIMITS_TEST}::test_callers_beyond_the_bound_share_a_bucket_and_those_that_are_full_again_make_room",
    ),
    (
        "limits: one address has all places",
        LIMITS,
        "if not self._unauthenticated_of.enter(network):",
        "if False:",
        "tests/web/socket/test_gate.py::test_no_address_has_all_places_of_sockets_that_are_nobodys",
    ),
    (
        "limits: whoever found no place holds one",
        LIMITS,
        "            self._unauthenticated_of.leave(network)\n            return",
        "            return",
        f"{LIMITS_TEST}::test_no_address_has_all_places_of_sockets_that_are_nobodys",
    ),
    (
        "audit: a full queue makes everybody wait",
        AUDIT,
        "self._waiting.put_nowait((entry, dt.datetime.now(dt.UTC)))",
        "self._waiting.put((entry, dt.datetime.now(dt.UTC)), timeout=0.05)",
        f"{AUDIT_TEST}::test_over_the_bound_entries_are_dropped_and_counted_and_nobody_waits",
    ),
    (
        "access: who signs in again is ended by an old revocation",
        WEB_OWN,
        "issued = asked if found.issued is None else found.issued",
        "issued = found.issued",
        "tests/web/entrance/test_own.py::test_who_it_says_so_of_was_asked_about_now_unless_it_says_since_when",
    ),
    (
        "access: one broken key of a set voids the others",
        VERIFYING,
        "return _read_jwk(fields)\n    except Exception:",
        "return _read_jwk(fields)\n    except ValueError:",
        "tests/access/test_verifying.py::test_of_a_set_those_that_verify_are_taken_and_the_others_left",
    ),
]
