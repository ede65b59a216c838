"""Users, groups and service principals (SCIM), and OAuth tokens for service principals."""

from __future__ import annotations

import base64
import re
from typing import Any, Dict, List

from werkzeug.wrappers import Response

from tests.databricks.standin.platform import ApiError, Call, Person, Platform, Route, invalid

SCIM = "/api/2.0/preview/scim/v2"
_FILTER = re.compile(r"^\s*(\w+)\s+eq\s+\"?([^\"]*)\"?\s*$", re.IGNORECASE)


def routes(platform: Platform) -> List[Route]:
    """All of them."""

    def user(person: Person) -> Dict[str, Any]:
        names = [{"display": group, "value": str(_group_id(platform, group))} for group in person.all_groups]
        shape = {"id": str(person.id), "displayName": person.name, "active": True, "groups": names}
        if person.is_service_principal:
            return {**shape, "applicationId": person.name}
        return {**shape, "userName": person.name, "emails": [{"value": person.name, "type": "work", "primary": True}]}

    def people(is_service_principal: bool) -> List[Dict[str, Any]]:
        return [user(p) for p in platform.people.values() if p.is_service_principal == is_service_principal]

    def groups(_: Call) -> Dict[str, Any]:
        found = []
        for name in platform.groups:
            members = [p for p in platform.people.values() if name in p.all_groups]
            found.append(
                {
                    "id": str(_group_id(platform, name)),
                    "displayName": name,
                    "members": [{"value": str(p.id), "display": p.name} for p in members],
                }
            )
        return _page(_, found)

    def me(call: Call) -> Dict[str, Any]:
        shape = user(call.user)
        return {**shape, "userName": call.user.name}

    def token(call: Call) -> Dict[str, Any]:
        kind, _, value = call.request.headers.get("Authorization", "").partition(" ")
        given = base64.b64decode(value).decode() if kind == "Basic" else ""
        if not given:
            given = f"{call.request.form.get('client_id')}:{call.request.form.get('client_secret')}"
        for known, person in platform.people.items():
            if person.client_secret and given == f"{person.name}:{person.client_secret}":
                return {"access_token": known, "token_type": "Bearer", "expires_in": 3600, "scope": "all-apis"}
        raise ApiError(401, "invalid_client", "Client authentication failed")

    def discovery(_: Call) -> Dict[str, Any]:
        base = f"{platform.url}/oidc"
        return {"authorization_endpoint": f"{base}/v1/authorize", "token_endpoint": f"{base}/v1/token"}

    return [
        ("GET", f"{SCIM}/Me", me),
        ("GET", f"{SCIM}/Users", lambda call: _page(call, people(False))),
        ("GET", f"{SCIM}/ServicePrincipals", lambda call: _page(call, people(True))),
        ("GET", f"{SCIM}/Groups", groups),
        ("GET", "/oidc/.well-known/oauth-authorization-server", discovery),
        ("POST", "/oidc/v1/token", token),
        ("GET", "/.well-known/databricks-config", lambda _: Response(status=404)),
    ]


def _group_id(platform: Platform, name: str) -> int:
    return 5_000_000 + platform.groups.index(name)


def _page(call: Call, found: List[Dict[str, Any]]) -> Dict[str, Any]:
    wanted = call.args.get("filter")
    if wanted:
        match = _FILTER.match(wanted)
        if not match:
            raise invalid(f"Given filter operator is not supported: {wanted}")
        found = [item for item in found if str(item.get(match[1], "")).lower() == match[2].lower()]
    start, count = call.number("startIndex", 1), call.number("count", 100)
    page = found[start - 1 : start - 1 + count]
    return {"totalResults": len(found), "startIndex": start, "itemsPerPage": len(page), "Resources": page}
