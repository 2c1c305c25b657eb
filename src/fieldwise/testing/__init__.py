"""What every model must do, as a suite of checks that a model of one's own can run too.

One call goes through all of them, and says of each that fails what it found::

    from fieldwise import ModelConfig
    from fieldwise.testing import check_model

    check_model(ModelConfig(kind="lc-wide-deep", units=4, fm_interactions=False))
    check_model(ModelConfig(), deep=MyDeepPart)  # MyDeepPart(num_inputs, num_outputs), a torch module
    check_model(build)                           # build(layout, num_classes, seed, dtype), a ClickModel of one's own

It needs no test framework and takes seconds. With pytest, one test for each check::

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_my_model(check):
        check(Subject(ModelConfig(), deep=MyDeepPart))
"""

from __future__ import annotations

from fieldwise.testing.checks import CHECKS, check_model
from fieldwise.testing.subject import Builder, CheckFailed, DeepPart, Subject

__all__ = ["CHECKS", "Builder", "CheckFailed", "DeepPart", "Subject", "check_model"]
