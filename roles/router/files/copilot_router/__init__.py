# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The router between clients and llama-server: on a balancer it chooses servers, on a server it assigns slots.

The cores are pure: of a balancer ``pool``, ``breaker`` and ``policy``, of a server ``slots``. They have no clock, no network
and no event loop. Time comes in as ``now``, seconds of any clock that never goes back. Everything else is an adapter around one
of them: ``app`` is where a balancer begins, ``server`` where a server does.
"""
