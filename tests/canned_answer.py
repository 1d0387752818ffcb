"""An official client's network: it is answered with given bytes, whatever it asks."""

import httpx2


class CannedAnswer(httpx2.BaseTransport):
    def __init__(self) -> None:
        self.body = b""
        self.kind = "application/json"

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": self.kind}, content=self.body)
