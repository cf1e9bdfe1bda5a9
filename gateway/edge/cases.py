"""`GET /v1/gateway/cases/{id}`: where a waiting client learns what became of its request."""

from litestar.types import Receive, Scope, Send

from gateway.cases.store import SqliteCaseStore
from gateway.domain.errors import RequestError
from gateway.edge.door import Door, Entry
from gateway.reply import Reply


class CasesWire:
    def __init__(self, door: Door, store: SqliteCaseStore) -> None:
        self._door = door
        self._store = store

    async def case(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The state of a case, to its requester and to reviewers of its tenant; nobody else learns that it exists."""
        case_id = str(scope["path"]).strip("/")  # the rest below the mount

        async def serve(entry: Entry) -> Reply:
            case = await self._store.get(case_id, entry.principal)
            if case is None:
                raise RequestError("there is no such case for this key", code="case_not_found", status=404)
            body = {
                "id": case.id,
                "object": "gateway.case",
                "state": case.state.value,
                "opened": case.opened,
                "due": case.due,
                "expires": case.expires,
            }
            return Reply(headers={"x-request-id": entry.exchange, "x-gateway-case": case.id}, body=body)

        await self._door.run(scope, receive, send, method="GET", serve=serve, route="/v1/gateway/cases/{case}")
