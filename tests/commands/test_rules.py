"""`realtime rules`, as typed: what it finds wrong, and what it says somebody may do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from realtime.access.ruling import IDLE
from realtime.core.access.principal import Principal
from realtime.core.access.rules.model import Rules
from realtime.core.access.rules.text import parse
from realtime.core.access.rules.writing import writing
from tests.access.issuer import SECRET, signer
from tests.commands.test_access import typed

RULES = """
orders:
  customer: {read: {owner: $user.sub}, insert: {owner: $user.sub}, fields: {hide: [margin]}}
  clerk: {read: {region: {$in: $user.claims.regions}}, delete: true}
"""
DOCS = Path(__file__).parents[2] / "docs" / "access.md"


MORE = pytest.mark.long("one more use of the command, a process each")


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return str(path)


def test_a_good_file_is_said_to_be_good_also_by_its_setting(file: str) -> None:
    for done in (typed("rules", "check", file), typed("rules", "check", rules=file)):
        assert (done.returncode, done.stdout) == (0, f"{file}: good, 2 grants\n")


@MORE
def test_rules_that_let_nothing_are_good_and_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    for text in ("", "# nothing so far\n", "orders: {}\n"):
        path.write_text(text)
        done = typed("rules", "check", str(path))
        assert (done.returncode, done.stdout) == (0, f"{path}: good, 0 grants\n{path}: warning: {IDLE}\n")


def test_what_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("orders:\n  customer:\n    read: {owner: {$nope: 1}}\n")
    done = typed("rules", "check", str(wrong))
    assert done.returncode == 2
    assert re.match(rf"realtime: {re.escape(str(wrong))}:3: .*\$nope", done.stderr)
    assert typed("rules", "check").returncode == 2


def test_it_is_explained_what_the_bearer_of_a_token_may_do(file: str, tmp_path: Path) -> None:
    token = signer("HS256").token(sub="ann", roles=["customer", "clerk"])
    document = tmp_path / "order.json"
    document.write_text('{"_id": 1, "owner": "ann", "margin": 5}')
    asked = ("rules", "explain", file, "--as", token, "--collection", "orders", "--document", str(document))
    done = typed(*asked, jwt_secret=SECRET, jwt_audience="shop")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "ann, roles: clerk, customer, in orders:",
        "read: no document",  # the claim is missing
        'read: {"owner":{"$eq":"ann"}}; hidden: margin',
        'insert: {"owner":{"$eq":"ann"}}; not written: margin',
        "update: forbidden",
        "delete: every document",
        'document: {"_id":1,"owner":"ann"}',
    ]
    forged = typed(*asked, jwt_secret="another secret of thirty-two bytes", jwt_audience="shop")
    assert (forged.returncode, forged.stdout) == (2, "")
    assert "--as: " in forged.stderr


def test_fields_that_may_be_seen_and_written_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    grant = "read: true, insert: true, update: true, fields: {show: [a, b], write: [b, c]}, keys: server"
    path.write_text(f'orders: {{"*": {{{grant}}}}}\n')
    done = typed("rules", "explain", str(path), "--collection", "orders")
    assert done.stdout.splitlines()[1:] == [
        "read: every document; shown: _id, a, b",
        "insert: every document; written: b, c; _id by the server",
        "update: every document; written: b, c",
        "delete: forbidden",
    ]


@MORE
def test_nobody_may_do_nothing_and_a_file_that_is_no_document_is_refused(file: str) -> None:
    done = typed("rules", "explain", file, "--collection", "others")
    assert done.stdout.splitlines()[1:] == [f"{name}: forbidden" for name in ("read", "insert", "update", "delete")]
    refused = typed("rules", "explain", file, "--collection", "orders", "--document", file)
    assert refused.returncode == 2
    assert "Extended JSON" in refused.stderr


def test_the_recipes_of_the_documents_are_good_rules() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(blocks) >= 8
    for block in blocks:
        parse(block, "access.md")


@pytest.mark.parametrize(("collection", "field"), [("notes", "owner"), ("posts", "author"), ("*", "tenant")])
def test_by_the_recipes_nobody_puts_a_document_among_those_of_another(collection: str, field: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (rules,) = [found for found in (parse(block, "access.md") for block in blocks) if _inserts(found, collection)]
    rule = writing(rules, Principal("ann", frozenset({"tenant"}), {"tenant": "ann"}), collection)
    for permits in (rule.insert, rule.update):
        for permit in permits:
            assert permit.lets({field: "ann"})
            assert not any(permit.lets({field: said}) for said in (["ann", "bob"], ["ann"], "bob", None))
    assert rule.insert


def _inserts(rules: Rules, collection: str) -> bool:
    return any(grant.insert is not False for grant in rules.collections.get(collection, {}).values())


@MORE
def test_what_is_taken_from_another_collection_is_explained_as_what_is_asked_there(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(
        "tasks:\n  member:\n    read:\n      $or:\n        - public: true\n        - team: {$in: {$from: "
        "{collection: memberships, where: {user: $user.sub}, values: team}}}\n    fields: {hide: [margin]}\n"
    )
    token = signer("HS256").token(sub="ann", roles=["member"])
    asked = ("rules", "explain", str(path), "--as", token, "--collection", "tasks")
    done = typed(*asked, jwt_secret=SECRET, jwt_audience="shop")
    assert done.returncode == 0, done.stderr
    wanted = '{"$from":{"collection":"memberships","where":{"user":{"$eq":"ann"}},"values":"team"}}'
    assert f'{{"$in":{wanted}}}' in done.stdout
    document = tmp_path / "task.json"
    for text, told in (
        ('{"_id": 1, "team": "a"}', "document: not seen, unless by what is in memberships"),
        (
            '{"_id": 1, "public": true, "margin": 1}',
            'document: {"_id":1,"public":true}, and perhaps more by what is in memberships',
        ),
    ):
        document.write_text(text)
        done = typed(*asked, "--document", str(document), jwt_secret=SECRET, jwt_audience="shop")
        assert told in done.stdout
