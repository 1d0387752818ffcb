"""What a crash of the kernel looks like to a client that asks all the time."""

import http.client
import threading
import time
from typing import Final
from urllib.parse import urlsplit

PAUSE_S: Final = 0.02
PATIENCE_S: Final = 30.0


class Watcher(threading.Thread):
    """Asks `/health` each 20 ms, on a new connection each time."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._address = urlsplit(url)
        self._over = threading.Event()
        self.wait_s_max = 0.0
        """The longest that one question had to wait for its answer, repeats included."""
        self.refused = 0
        """Connections that nobody took."""

    def stop(self) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(PAUSE_S):
            began_s = time.monotonic()
            while not self._asked() and not self._over.wait(PAUSE_S):
                pass
            self.wait_s_max = max(self.wait_s_max, time.monotonic() - began_s)

    def _asked(self) -> bool:
        host, port = self._address.hostname or "", self._address.port
        connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        except ConnectionRefusedError:
            self.refused += 1
            return False
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
