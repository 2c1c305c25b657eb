"""A slow worker is seen in the report, and so is that the others wait for it."""

from __future__ import annotations

from tests.distributed import runs
from tests.distributed.straggler import SLEEP, STEPS, report


def test_the_report_names_a_slow_worker_and_shows_the_others_waiting():
    found, _ = runs.run_workers(report, 2)
    other, slow = found["workers"]
    own = [(each["step_seconds"] - each["waiting_seconds"]) / each["steps"] for each in (other, slow)]
    assert other["steps"] == slow["steps"] == STEPS
    assert own[1] > SLEEP
    assert own[1] > 1.5 * own[0]
    assert other["waiting_seconds"] > 0.5 * STEPS * SLEEP  # what else its host does, it does meanwhile
    assert found["straggler"][0] == 1
