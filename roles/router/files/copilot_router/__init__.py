# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides which backend gets a request.

The core (``pool``, ``breaker``, ``policy``) is pure: no clock, no network, no event loop. Time comes in as ``now``, seconds of
any clock that never goes back. Everything else is an adapter around it.
"""
