# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HTTP as uvicorn speaks it, and a stop that drops nobody (``uvicorn --http copilot_router.protocol:Protocol``)."""

from __future__ import annotations

from uvicorn.protocols.http.h11_impl import H11Protocol

# Seconds for accepted connections until their request is read; it was sent with the connection.
GRACE_SECONDS = 1.0


class Protocol(H11Protocol):
    """One connection.

    It is h11's: what is faster takes trailers for headers, and a trailer could say who asks.
    """

    def shutdown(self) -> None:
        """Ends the connection once it has been answered, also one that was accepted a moment ago and has said nothing yet."""
        if self.cycle is None and not self.transport.is_closing():
            self.loop.call_later(GRACE_SECONDS, super().shutdown)
        else:
            super().shutdown()
