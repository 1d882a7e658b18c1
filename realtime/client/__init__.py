"""A client for Python programs: live queries, events and writes over one connection that mends itself.

    async with connect("http://127.0.0.1:8000") as rt:
        async with rt.query("orders", filter={"status": "open"}) as view:
            print(view.documents)
            async for moment in view:
                print(moment.changes)

Errors are those of `realtime.errors`. docs/clients.md tells more.
"""

from realtime.client.client import Client, Events, View, connect
from realtime.client.records import Backoff, Change, Event, Moment, State, Status, Written

__all__ = ["Backoff", "Change", "Client", "Event", "Events", "Moment", "State", "Status", "View", "Written", "connect"]
