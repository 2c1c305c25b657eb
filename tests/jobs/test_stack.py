"""Stacks and Bayesian factorisation machines, from a log to predictions."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.logs import make_table, write

import fieldwise as fw
from fieldwise.errors import ConfigError, Stopped
from fieldwise.events import EpochEnd, Sampling, StageStart
from fieldwise.jobs.train.plan import plan
from fieldwise.kernels.storage import decode_weights
from fieldwise.models.load import load_model
from fieldwise.training.chain import read_chain, run_chain
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.config import SamplerConfig
from fieldwise.training.interrupt import Interrupt, Interrupted

SETTINGS = """
[data]
train = ["log.parquet"]
label = "click"
split = "split"
[model]
units = 8
factors = 5
hidden = [16]
{model}
[train]
epochs = 2
threads = 1
[train.sampler]
sweeps = 12
burn_in = 4
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A log of users, films and hours, whose labels depend on who sees which film."""
    folder = tmp_path_factory.mktemp("posterior")
    rng = np.random.default_rng(0)
    count = 3000
    user, film, hour = rng.integers(0, 40, count), rng.integers(0, 30, count), rng.integers(0, 24, count)
    taste, kind = rng.normal(size=(40, 3)), rng.normal(size=(30, 3))
    z = (taste[user] * kind[film]).sum(axis=1) + 0.5 * rng.normal(size=count)
    part = rng.choice(["train", "valid", "test"], count, p=[0.7, 0.15, 0.15])
    fields = {"user": user, "film": film, "hour": hour}
    columns = {name: pa.array([f"{name} {value}" for value in column]) for name, column in fields.items()}
    columns |= {"click": pa.array((z > 0).astype(int)), "split": pa.array(part)}
    pq.write_table(pa.table(columns), folder / "log.parquet")
    return folder


def load(folder, model=""):
    path = folder / "fieldwise.toml"
    path.write_text(SETTINGS.format(model=model))
    return fw.load_config(path)


def test_a_stack_keeps_what_was_sampled_and_weighs_its_members(folder):
    events = []
    result = fw.train(load(folder), folder / "run", listen=events.append)
    assert StageStart("sample", "lc-dnn+bayesian-fm") in events
    assert [event.sweep for event in events if isinstance(event, Sampling)] == list(range(1, 13))
    assert result.pretrain_seconds > 0
    model = load_model(fw.open_bundle(folder / "run"))
    assert result.model == model.config.kind == "lc-dnn+bayesian-fm"
    assert model.num_frozen == 6
    chain = next(folder.glob("run/bayesian-fm-*"))
    mean = Checkpoints(chain).newest().dense["mean"]
    learnt = decode_weights(model.table.weights)
    seen = np.abs(mean).sum(axis=1) > 0
    np.testing.assert_allclose(learnt[seen][:, 0], 1.6 * mean[seen][:, 0], rtol=1e-5)
    np.testing.assert_allclose(learnt[seen][:, 1:6], np.sqrt(1.6) * mean[seen][:, 1:], rtol=1e-5)
    assert learnt.shape[1] == 6 + 8
    assert model.members["lc-dnn"].interactions is None
    assert model.stacker.weight.tolist() != [0.0, 0.5, 0.5]  # an offset, LC-DNN, the sampled machine
    assert result.test.auc > 0.75
    assert [member.model for member in result.members] == ["lc-dnn", "bayesian-fm"]
    assert [weight for member in result.members for weight in member.weights] == model.stacker.weight[1:].tolist()
    assert result.as_dict()["members"][1]["test"]["auc"] == result.members[1].test.auc
    again = fw.evaluate(folder / "run", folder / "log.parquet")
    assert again.metrics.num_examples == 3000


def test_a_kind_that_is_there_twice_is_two_members_of_different_weights(folder):
    result = fw.train(load(folder, 'kind = "lc-dnn+lc-dnn+lc-resnet+bayesian-fm"'), folder / "twice")
    assert [member.model for member in result.members] == ["lc-dnn", "lc-dnn#2", "lc-resnet", "bayesian-fm"]
    one, other, _, sampled = result.members
    assert 0 < abs(one.valid.logloss - other.valid.logloss) < 0.1
    assert sampled.seconds > 0
    assert all(member.auc_lost is not None for member in result.members)
    assert result.valid.logloss <= min(member.valid.logloss for member in result.members) + 1e-3
    model = load_model(fw.open_bundle(folder / "twice"))
    assert model.num_frozen == 6
    assert model.table.num_local == 6 + 3 * 8


def test_what_has_no_validation_rows_takes_the_mean_of_its_members(folder):
    config = load(folder)
    plain = msgspec.structs.replace(config, data=msgspec.structs.replace(config.data, split=None, valid=None))
    fw.train(plain, folder / "no-valid")
    assert load_model(fw.open_bundle(folder / "no-valid")).stacker.weight.tolist() == [0.0, 0.5, 0.5]


def test_a_chain_that_was_stopped_ends_as_if_it_had_not(folder):
    prepared = fw.prepare(load(folder))
    settings, train = SamplerConfig(sweeps=8, burn_in=3), prepared.parts["train"]

    def run(name, interrupt=None, listen=lambda event: None):
        checkpoints = Checkpoints(folder / name)
        seconds = run_chain(train, None, [], 3, settings, 5, checkpoints, interrupt=interrupt, listen=listen)
        return read_chain(checkpoints), seconds

    whole, _ = run("whole")
    interrupt = Interrupt()

    def stop(event):
        interrupt.requested = event.sweep == 5

    with pytest.raises(Interrupted):
        run("stopped", interrupt, stop)
    mean, seconds = run("stopped")
    assert (mean.sampled == whole.sampled).all()
    assert mean.bias == whole.bias
    again, same = run("stopped")
    assert (again.sampled == whole.sampled).all()
    assert same == seconds


def test_training_stops_on_request_while_it_samples_and_goes_on(folder, monkeypatch):
    config, interrupt = load(folder), Interrupt()
    whole = fw.train(config, folder / "uninterrupted")

    class Now:
        def __enter__(self):
            return interrupt

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("fieldwise.jobs.train.train.noting_signals", Now)

    def stop(event):
        interrupt.requested = isinstance(event, Sampling) and event.sweep == 6

    with pytest.raises(Stopped, match="sampling"):
        fw.train(config, folder / "interrupted", listen=stop)
    interrupt.requested = False
    resumed = fw.train(config, folder / "interrupted")
    assert resumed.test == whole.test


def test_what_a_member_reaches_alone_is_what_it_reaches_as_a_model_of_its_own(folder):
    stack = fw.train(load(folder), folder / "run")
    events = []
    config = load(folder, 'kind = "bayesian-fm"')
    alone = fw.train(config, folder / "alone", listen=events.append)
    assert StageStart("pretrain", "lr") not in events
    for part in ("valid", "test"):
        assert getattr(alone, part).auc == pytest.approx(getattr(stack.members[1], part).auc, abs=1e-6)
        assert getattr(alone, part).logloss == pytest.approx(getattr(stack.members[1], part).logloss, abs=1e-6)
    assert (alone.epochs, alone.best_epoch, alone.members) == (12, 12, [])
    assert alone.parameters == plan(config).stages[-1].parameters
    assert fw.evaluate(folder / "alone", folder / "log.parquet").metrics.num_examples == 3000
    assert fw.train(config, folder / "alone") == alone
    trained = fw.train(load(folder, 'kind = "lc-dnn"\nfm_interactions = false'), folder / "lc-dnn")
    assert trained.test.auc == pytest.approx(stack.members[0].test.auc, abs=0.02)


def test_any_models_make_a_stack(folder):
    result = fw.train(load(folder, 'kind = "lr+dnn"'), folder / "lr+dnn")
    assert [member.model for member in result.members] == ["lr", "dnn"]
    assert result.units is None
    best = max(member.valid.logloss for member in result.members)
    assert result.valid.logloss < best + 1e-9
    lr, dnn = result.members
    # One member alone, weighed anew, ranks as it is, but for probabilities that float32 makes one.
    assert lr.auc_lost == pytest.approx(result.valid.auc - dnn.valid.auc, abs=1e-4)
    assert dnn.auc_lost == pytest.approx(result.valid.auc - lr.valid.auc, abs=1e-4)
    assert min(each.seconds for each in result.members) > 0


def test_models_of_a_comparison_share_a_chain(folder):
    events = []
    comparison = fw.compare(load(folder), folder / "compared", models=["bayesian-fm", "auto"], listen=events.append)
    assert len(list(folder.glob("compared/bayesian-fm-*"))) == 1
    assert sum(isinstance(event, Sampling) for event in events) == 12
    assert all(result.test.auc > 0.7 for result in comparison.models)
    assert [spread.model for spread in comparison.spreads] == ["bayesian-fm", "lc-dnn-8+bayesian-fm"]


@pytest.mark.parametrize(
    "more",
    [
        "kind=auto",
        "kind=lc-dnn",
        "initial_model=random",
        "units=1",
        "kind=bayesian-fm",
        "cooccurrence=[['user', 'film']]",
    ],
)
def test_a_plan_tells_of_what_a_training_goes_through_before_the_log_is_prepared_and_after(folder, tmp_path, more):
    load(folder)
    overrides = [
        f"model.{more}",
        f"data.cache={tmp_path / 'cache'}",
        "train.epochs=1",
        "train.batch_size=256",
        "train.sampler.sweeps=5",
    ]
    fresh = fw.load_config(folder / "fieldwise.toml", overrides)
    before, events = plan(fresh), []
    result = fw.train(fresh, tmp_path / "run", listen=events.append)
    after = plan(fresh)
    gone_through = [
        "bayesian-fm" if event.name == "sample" else event.model
        for event in events
        if isinstance(event, StageStart) and event.name in ("sample", "train")
    ]
    if more == "kind=bayesian-fm":
        assert gone_through.pop() == gone_through[0]
    # What is sampled is announced by the model that has it, before that trains.
    assert [stage.model for stage in after.stages] == gone_through
    assert [stage.model for stage in before.stages] == gone_through
    assert after.stages[-1].parameters == result.parameters


def test_a_log_without_a_sampled_machine_says_why(folder):
    load(folder)
    overrides = ["train.negative_rate=0.5", "model.kind=bayesian-fm", "train.sampler.method=gibbs"]
    config = fw.load_config(folder / "fieldwise.toml", overrides)
    with pytest.raises(ConfigError, match=r"this log is not sampled: train\.negative_rate"):
        fw.train(config, folder / "refused")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("lc-dn", "did you mean lc-dnn"),
        ("lc-dnn+bayes-fm", "did you mean bayesian-fm"),
        ("lr+lr", "LR does not depend on its seed"),
        ("lc-dnn+bayesian-fm+bayesian-fm", "Bayesian FM does not depend on its seed"),
    ],
)
def test_a_stack_that_cannot_be_is_refused(folder, kind, says):
    with pytest.raises(ConfigError, match=says):
        load(folder, f'kind = "{kind}"')


BAGS = (("user", "film"), ("film", "user"))


@pytest.mark.parametrize("cooccurrence", [BAGS, "none"])
def test_a_comparison_takes_the_member_that_it_has_trained_alone_where_it_is_the_same(folder, tmp_path, cooccurrence):
    events = []
    # From a random start: where LR is kept alone, its stack trains the network again.
    model = fw.ModelConfig(units=8, factors=5, hidden=(16,), cooccurrence=cooccurrence, initial_model="random")
    config = msgspec.structs.replace(load(folder), model=model)
    models = ["lr", "lc-dnn", "lc-dnn+bayesian-fm"]
    _, alone, stack = fw.compare(config, tmp_path / "runs", models=models, listen=events.append).models
    begun = events.index(StageStart("train", "lc-dnn+bayesian-fm"))
    trained_again = [event for event in events[begun:] if isinstance(event, EpochEnd)]
    if cooccurrence == "none":
        assert trained_again, "alone it has interactions, which the sampled member has in the stack"
        return
    assert not trained_again
    [member] = [each for each in stack.members if each.model == "lc-dnn"]
    assert alone.kept is None
    for part in ("valid", "test"):
        assert getattr(member, part).auc == pytest.approx(getattr(alone, part).auc, abs=1e-9)
        assert getattr(member, part).logloss == pytest.approx(getattr(alone, part).logloss, abs=1e-6)
    assert (stack.epochs, stack.best_epoch) == (alone.epochs, alone.best_epoch)
    assert stack.valid.logloss <= min(each.valid.logloss for each in stack.members) + 1e-3


def test_a_stack_that_has_seen_a_part_of_the_negatives_predicts_the_rate_of_all(tmp_path):
    """What is added for them afterwards was learned a second time by the weights of the stack."""
    write(make_table(4000), tmp_path / "log.csv")
    (tmp_path / "log.toml").write_text(
        '[data]\ntrain = "log.csv"\nlabel = "click"\nsplit = "split"\n'
        '[model]\nkind = "lr+bayesian-fm"\nfactors = 2\n[train]\nnegative_rate = 0.3\nsampler = { passes = 4 }\n'
    )
    result = fw.train(fw.load_config(tmp_path / "log.toml"), tmp_path / "run")
    assert result.test.calibration_ratio == pytest.approx(1.0, abs=0.12)
    assert [member.test.calibration_ratio for member in result.members] == pytest.approx([1.0, 1.0], abs=0.15)
