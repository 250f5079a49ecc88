"""What the control socket answers if a request fails: always JSON, which the commands print."""

import json

import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs

from supervisor.api.routes import answer_errors
from supervisor.errors import Permanent, Transient


def answer(error: Exception) -> web.StreamResponse:
    async def fail(_request: web.Request) -> web.StreamResponse:
        raise error

    async def run() -> web.StreamResponse:
        return await answer_errors(make_mocked_request("POST", "/containers/web/suspend"), fail)

    return anyio.run(run)


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [(Transient("try again"), 503, "try again"), (Permanent("never"), 409, "never"), (KeyError("x"), 500, "a bug in")],
)
def test_every_failure_is_answered_in_json(error: Exception, status: int, says: str) -> None:
    found = answer(error)
    assert isinstance(found, web.Response)
    assert found.status == status
    assert says in json.loads(found.text or "")["error"]


def test_bug_is_logged_with_its_traceback() -> None:
    with capture_logs() as logs:
        answer(KeyError("x"))
    assert [(each["event"], each["path"], each["exc_info"]) for each in logs] == [
        ("request_failed", "/containers/web/suspend", True)
    ]


def test_unknown_path_stays_what_it_is() -> None:
    with pytest.raises(web.HTTPNotFound):
        answer(web.HTTPNotFound())
