"""The image's health check: exit 0 when the service of this container answers. The image has no curl."""

import http.client
import os
import sys

TIMEOUT_SECONDS = 4


def main() -> int:
    """Ask `/healthz` by the loopback address, which the service accepts as a host whatever its name is outside."""
    port = int(os.environ.get("REALTIME_PORT") or 8000)
    # Not urllib: it would follow the proxy variables that Docker's client sets in containers.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"/healthz on port {port} does not answer: {error}\n")
        return 1
    finally:
        connection.close()
    sys.stdout.write(f"/healthz: {status}\n")
    return 0 if status == http.HTTPStatus.OK else 1


if __name__ == "__main__":
    sys.exit(main())
