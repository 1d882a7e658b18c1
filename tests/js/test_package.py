"""The npm package: what is in it, its types, and how the service hands it to pages."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from realtime.errors import every_kind
from tests.js.conftest import CLIENT, HERE, packed, run
from tests.serving import Service

ROOT = HERE.parents[1]


def test_the_tarball_holds_the_modules_their_types_and_what_to_read(tmp_path: Path) -> None:
    tarball = packed(tmp_path)
    names = run(["tar", "-tzf", str(tarball)], tmp_path).split()
    modules = {f"package/{file.name}" for file in CLIENT.iterdir() if file.suffix in {".js", ".ts"}}
    assert len(modules) >= 14
    assert set(names) == modules | {"package/package.json", "package/README.md"}
    assert tarball.stat().st_size < 45_000


def test_the_package_says_of_itself_what_the_project_does() -> None:
    package = json.loads((CLIENT / "package.json").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told = [package[field] for field in ("name", "version", "license", "type")]
    assert told == [project["name"], project["version"], project["license"], "module"]
    assert "dependencies" not in package
    # At npm's registry the name is somebody else's.
    assert package["private"] is True


@pytest.mark.long("npm installs, and TypeScript judges")
def test_it_is_installed_from_the_clone_as_its_page_says(tmp_path: Path) -> None:
    (line,) = re.findall(r"^npm install .*$", (CLIENT / "README.md").read_text(), re.MULTILINE)
    place = CLIENT.relative_to(ROOT)
    assert line.endswith(f"/path/to/clone/{place}")
    (tmp_path / "package.json").write_text('{"private": true}')
    command = line.replace("/path/to/clone", str(ROOT)).split()
    run([*command, "--offline", "--no-audit", "--no-fund"], tmp_path)
    assert not (tmp_path / "node_modules" / "mongo-realtime").is_symlink()
    script = 'console.log(typeof (await import("mongo-realtime")).connect)'
    assert run(["node", "--input-type=module", "-e", script], tmp_path).strip() == "function"


def test_only_what_is_exported_can_be_had(workshop: Path) -> None:
    script = """
        const names = Object.keys(await import("mongo-realtime")).sort().join(" ");
        const inner = await import("mongo-realtime/view.js").catch(({ code }) => code);
        console.log(JSON.stringify({ names, inner }));
    """
    told = json.loads(run(["node", "--input-type=module", "-e", script], workshop))
    assert told == {
        "names": "Binary Code Decimal128 Long LongDate MaxKey MinKey ObjectId RealtimeError RegularExpression "
        "Timestamp Value connect decode encode entries equal idOf parse stringify",
        "inner": "ERR_PACKAGE_PATH_NOT_EXPORTED",
    }


SAMPLES = {"sample.mts": 5, "sample_typed.mts": 60}
"""How often each expects to be refused."""


@pytest.mark.long("npm installs, and TypeScript judges")
def test_the_types_take_what_is_right_and_refuse_what_is_wrong(workshop: Path) -> None:
    compiler = workshop / "node_modules" / "typescript" / "bin" / "tsc"
    options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom"]
    run(["node", str(compiler), *options, *SAMPLES], workshop)
    assert {name: (HERE / name).read_text().count("@ts-expect-error") for name in SAMPLES} == SAMPLES


def test_the_codes_of_the_types_are_those_of_the_protocol() -> None:
    types = (CLIENT / "realtime.d.ts").read_text()

    def union(name: str) -> list[str]:
        declared = re.search(rf"export type {name} =([^;]+);", types)
        assert declared is not None
        return re.findall(r'"(\w+)"', declared[1])

    told = union("ProtocolCode")
    assert sorted(told) == sorted(kind.code for kind in every_kind())
    assert len(told) >= 20
    own = union("ClientCode")
    assert not set(own) & set(told)
    said = {code for file in CLIENT.glob("*.js") for code in re.findall(r'code: "(\w+)"', file.read_text())}
    assert said >= set(own)
    assert said <= {*own, *told}


def test_every_export_has_a_type() -> None:
    types = (CLIENT / "realtime.d.ts").read_text()
    declared = set(re.findall(r"export declare (?:abstract )?(?:class|function) (\w+)", types))
    entry = (CLIENT / "realtime.js").read_text() + (CLIENT / "values.js").read_text()
    exported = set(re.findall(r"export (?:const|class) (\w+)", entry))
    for names in re.findall(r"export \{ ([^}]+) \}", entry):
        exported |= set(names.split(", "))
    assert len(exported) >= 18
    assert declared - {"Client", "Query", "Events"} == exported


async def test_the_service_hands_the_client_to_pages_of_every_origin(service: Service) -> None:
    elsewhere = {"Origin": "https://app.example"}
    entry = await service.http.get("/realtime.js", headers=elsewhere)
    assert (entry.status_code, entry.headers["access-control-allow-origin"]) == (200, "*")
    assert entry.headers["content-type"].startswith("text/javascript")
    served = 0
    paths = [f"/{path}" for path in re.findall(r'from "\./([^"]+)"', entry.text)]
    while paths:
        path = paths.pop()
        answer = await service.http.get(path, headers=elsewhere)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
        assert answer.headers["content-type"].startswith("text/javascript")
        served += 1
        if path.endswith("realtime.js"):
            paths += [f"/static/realtime/{file.name}" for file in CLIENT.glob("*.js") if file.name != "realtime.js"]
    assert served == len(list(CLIENT.glob("*.js"))) >= 13


async def test_nothing_else_is_handed_to_them(service: Service) -> None:
    elsewhere = {"Origin": "https://app.example"}
    for path in ("/", "/static/page.js", "/v1/collections", "/healthz"):
        answer = await service.http.get(path, headers=elsewhere)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert "access-control-allow-origin" not in answer.headers
    rebound = await service.http.get("/realtime.js", headers={"Host": "rebound.example"})
    assert rebound.status_code == 403
    for name in ("package.json", "realtime.d.ts", "..%2Findex.html", "nothing.js"):
        assert (await service.http.get(f"/static/realtime/{name}")).status_code == 404
