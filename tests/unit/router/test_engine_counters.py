# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""llama-server's own counters, as they are passed on."""

from __future__ import annotations

import pytest
from copilot_router.engine_counters import exposition

SAID = """\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed, excluding cached tokens
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total {number}
# HELP llamacpp:n_tokens_max Largest observed sequence length (prompt + generation)
# TYPE llamacpp:n_tokens_max counter
llamacpp:n_tokens_max 27
# HELP llamacpp:prompt_tokens_seconds Average prompt throughput in tokens/s
# TYPE llamacpp:prompt_tokens_seconds gauge
llamacpp:prompt_tokens_seconds 11315.4
"""


def test_each_counter_has_its_model_and_those_of_one_name_stand_together() -> None:
    assert exposition({"one": SAID.replace("{number}", "24"), 'a "b" \\': SAID.replace("{number}", "1.5e+06")}) == (
        "# HELP llamacpp_prompt_tokens_total Number of prompt tokens processed, excluding cached tokens\n"
        "# TYPE llamacpp_prompt_tokens_total counter\n"
        'llamacpp_prompt_tokens_total{model="one"} 24\n'
        'llamacpp_prompt_tokens_total{model="a \\"b\\" \\\\"} 1.5e+06\n'
        "# HELP llamacpp_n_tokens_max Largest observed sequence length (prompt + generation)\n"
        "# TYPE llamacpp_n_tokens_max gauge\n"
        'llamacpp_n_tokens_max{model="one"} 27\n'
        'llamacpp_n_tokens_max{model="a \\"b\\" \\\\"} 27\n'
    )


@pytest.mark.parametrize(
    "said",
    [
        pytest.param("", id="nothing"),
        pytest.param('{"error": "no"}', id="JSON"),
        pytest.param("llamacpp:a 1 2 3\nllamacpp:b x", id="no numbers"),
        pytest.param("llamacpp:prompt_tokens_seconds 1\nother_total 2", id="what others spoil, and what is not llama-server's"),
    ],
)
def test_what_is_no_counter_is_not_passed_on(said: str) -> None:
    assert exposition({"one": said}) == ""
