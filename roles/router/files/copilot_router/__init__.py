# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The router between clients and llama-server: on a balancer it chooses servers, on a server it assigns slots.

The cores are pure: ``pool``, ``breaker`` and ``policy`` of a balancer, and ``slots`` of a server. They have no clock, no network
and no event loop. Time is an argument, ``now``, in seconds of a monotonic clock. Everything else is an adapter around one of the
cores: ``app`` is the entry point of a balancer, ``server`` that of a server.
"""
