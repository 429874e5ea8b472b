# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Models: what a file says of itself, what the fleet offers, the memory that it takes, and how it is fetched."""
