"""Several hosts: agents that are killed, and two network namespaces with a wire between them."""

from __future__ import annotations

import json
import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from tests.distributed import namespaces, runs
from tests.helpers import PATIENCE

SLOW = runs.MORE.replace("epochs = 2", "epochs = 60").replace("patience = 9", "patience = 99")


def hosts_of(out: Path, num_hosts: int) -> set[str]:
    """Return the checkpoints that so many hosts have written together."""
    name = "table.safetensors" if num_hosts == 1 else f"table-00000-of-{num_hosts:05d}.safetensors"
    return {str(path.parent) for path in out.glob(f"checkpoints/[0-9]*/{name}")}


@pytest.mark.long
def test_killed_hosts_are_done_without_and_taken_back(tmp_path):
    config = runs.make_log(tmp_path, SLOW.replace("= 60", "= 9999").replace("= 99\n", "= 9999\n"))  # never done
    out, moments, recoveries = tmp_path / "run", random.Random(3), []
    options = ("--workers", "1", "--hosts", "1:2", "--rendezvous", f"127.0.0.1:{runs.free_port()}")
    with ExitStack() as held:
        hosts = [held.enter_context(runs.started(config, out, *options)) for _ in range(2)]
        for _ in range(8):
            before = hosts_of(out, 2)
            assert runs.wait_until(lambda before=before: hosts_of(out, 2) - before, hosts[0])
            time.sleep(moments.uniform(0, 1))
            killed, before = moments.randrange(2), hosts_of(out, 1)
            hosts[killed].kill()
            begun = time.monotonic()
            assert runs.wait_until(lambda before=before: hosts_of(out, 1) - before, hosts[1 - killed])
            recoveries.append(time.monotonic() - begun)
            print(f"{recoveries[-1]:.1f} seconds to the next checkpoint")  # noqa: T201
            hosts[killed] = held.enter_context(runs.started(config, out, *options))


@pytest.mark.long
def test_a_host_that_stood_still_is_done_without_and_taken_back(tmp_path):
    config = runs.make_log(tmp_path, SLOW.replace("= 60", "= 9999").replace("= 99\n", "= 9999\n"))
    out, place = tmp_path / "run", ("--rendezvous", f"127.0.0.1:{runs.free_port()}")
    options = ("--workers", "1", "--hosts", "1:2", *place)
    with runs.started(config, out, *options) as first:
        assert runs.wait_until(lambda: hosts_of(out, 1), first)  # so it is this one that answers where they meet
        with runs.started(config, out, *options) as second:
            assert runs.wait_until(lambda: hosts_of(out, 2), second)
            second.send_signal(signal.SIGSTOP)
            before, begun = hosts_of(out, 1), time.monotonic()
            try:
                assert runs.wait_until(lambda: hosts_of(out, 1) - before, first)
                print(f"{time.monotonic() - begun:.1f} seconds to the next checkpoint")  # noqa: T201
            finally:
                second.send_signal(signal.SIGCONT)
            before, begun = hosts_of(out, 2), time.monotonic()
            assert runs.wait_until(lambda: hosts_of(out, 2) - before, second)
            print(f"{time.monotonic() - begun:.1f} seconds until it is back")  # noqa: T201


@pytest.mark.long
def test_training_ends_with_the_host_that_is_left(tmp_path):
    config, out = runs.make_log(tmp_path, SLOW), tmp_path / "run"
    options = ("--workers", "1", "--hosts", "1:2", "--rendezvous", f"127.0.0.1:{runs.free_port()}")
    with runs.started(config, out, *options) as lost, runs.started(config, out, *options) as left:
        assert runs.wait_until(lambda: hosts_of(out, 2), left)
        lost.kill()
        output, messages = left.communicate(timeout=PATIENCE)
    assert left.returncode == 0, messages
    expected = runs.train(config, tmp_path / "alone")
    assert json.loads(output)["test"]["auc"] == pytest.approx(expected["test"]["auc"], abs=1e-6)


@pytest.mark.long
@namespaces.needs_root
def test_two_hosts_with_a_wire_between_them_send_what_the_report_says(tmp_path):
    config = runs.make_log(tmp_path, runs.MORE.replace('precision = "float64"\n', ""))
    out = tmp_path / "run"
    options = ("--workers", "1", "--hosts", "2", "--rendezvous", f"{namespaces.ADDRESS}:29400")
    with namespaces.two_hosts() as names:
        outputs = namespaces.run_on(names, runs.command(config, out, *options))
        sent = namespaces.bytes_sent(names)
    [result] = [json.loads(text) for text in outputs if text]
    counted = sum(kind["num_bytes"] for worker in result["workers"] for kind in worker["kinds"].values())
    print(f"{sent:,} bytes on the wire, {counted:,} of them counted by the workers in the last training")  # noqa: T201
    assert counted < sent
    for name, array in runs.weights(out).items():
        assert np.isfinite(array).all(), name


@pytest.mark.long
def test_twenty_killed_workers_make_no_difference(tmp_path):
    config = runs.make_log(tmp_path, SLOW)
    expected = runs.train(config, tmp_path / "whole", "--workers", "2")
    out = tmp_path / "killed"
    with runs.started(config, out, "--workers", "2") as process:
        recoveries = runs.kill_workers(process, out, 20, random.Random(5))
        output, messages = process.communicate(timeout=PATIENCE)
    print("seconds to the next checkpoint:", [round(recovery.seconds, 1) for recovery in recoveries])  # noqa: T201
    print("while a checkpoint was written:", sum(recovery.saving for recovery in recoveries))  # noqa: T201
    assert process.returncode == 0, messages
    assert len(recoveries) == 20
    assert sum(recovery.saving for recovery in recoveries) >= 5
    assert json.loads(output)["test"] == expected["test"]
    for name, array in runs.weights(tmp_path / "whole").items():
        assert runs.weights(out)[name].tobytes() == array.tobytes(), name


def test_hosts_must_know_where_to_meet(tmp_path):
    (tmp_path / "log.toml").write_text('[data]\ntrain = "log.csv"\nlabel = "click"\n')
    process = runs.start(tmp_path / "log.toml", tmp_path / "run", "--workers", "1", "--hosts", "2")
    _, messages = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "--rendezvous HOST:PORT" in messages
