"""The frames as JSON Schema: what a model alone does not say of the wire."""

from __future__ import annotations

from realtime.core.wire.protocol import CLIENT_FRAMES
from realtime.core.wire.schema import frame_schemas, protocol_schema, server_frames


def test_there_is_one_schema_for_each_frame_and_entry() -> None:
    names = {kind.__name__ for kind in [*CLIENT_FRAMES.values(), *server_frames().values()]}
    assert frame_schemas().keys() == names | {"Change", "Event"}
    assert protocol_schema()["$defs"].keys() == names | {"Change", "Event", "client", "server"}
    assert len(names) >= 22


def test_a_frame_of_the_service_has_what_is_not_none_and_may_have_more() -> None:
    result = frame_schemas()["Result"]
    assert result["required"] == ["type", "id", "position", "key"]
    assert result["properties"]["matched"] == {"type": "integer"}
    assert "additionalProperties" not in result
    assert frame_schemas()["Welcome"]["required"][-2:] == ["requires_auth", "limits"]


def test_a_request_is_closed_and_has_its_dates_as_extended_json() -> None:
    subscribe = frame_schemas()["Subscribe"]
    assert subscribe["additionalProperties"] is False
    assert subscribe["properties"]["since"]["anyOf"][0]["required"] == ["$date"]


def test_references_lead_where_the_caller_keeps_them() -> None:
    schemas = frame_schemas("#/components/schemas/{model}")
    assert schemas["Changes"]["properties"]["changes"]["items"] == {"$ref": "#/components/schemas/Change"}
    assert schemas["Events"]["properties"]["events"]["items"] == {"$ref": "#/components/schemas/Event"}
