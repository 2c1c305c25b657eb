"""The models that a server answers from, and how a new version takes the place of the one that answers.

A version is opened, verified and warmed in a thread of its own, and has answered a row, before requests go to it. Those
that were accepted before are answered by the version before, which is closed when the last of them has left. A version
that cannot be used is refused, with a line that says why, and tried again when its files have changed.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fieldwise.bundle import forgetting_remark
from fieldwise.errors import ArtefactError, UserError
from fieldwise.serving.explain import Explanation
from fieldwise.serving.folders import ModelFolder, Signature, find_models, signature_of, version_key
from fieldwise.serving.limits import Limits
from fieldwise.serving.refusals import Refusal, one_line, refused
from fieldwise.serving.rows import Rows
from fieldwise.serving.version import Version

__all__ = ["Model", "Models"]

_NUM_OTHERS = 2
_IDLE = 60.0
"""As many versions that were asked for by name are open beside the one that answers, and so many seconds unused."""

_UNUSABLE = "version {} cannot be used; the server's log says why"
"""The reason names a file of the server, which is no matter of a client."""


class Model:
    """A model: the version that answers, and others that were asked for by name."""

    def __init__(self, name: str, folder: ModelFolder) -> None:
        self.name, self.folder = name, folder
        self.current: Version | None = None
        self.others: dict[str, Version] = {}
        self.refused: dict[str, tuple[Signature, str]] = {}

    def loaded(self, name: str) -> Version | None:
        """Return a version if it is in memory."""
        if self.current is not None and self.current.name == name:
            return self.current
        return self.others.get(name)

    @property
    def versions(self) -> list[str]:
        """The names of versions that can be asked for, from the highest."""
        found = {name for name in self.folder.versions if name and name not in self.refused}
        found |= {self.current.name} if self.current is not None else set()
        return sorted(found, key=version_key, reverse=True)

    def wanted(self) -> Iterator[str]:
        """Yield the versions that may answer, the best first."""
        names = sorted(self.folder.versions, key=version_key, reverse=True)
        if self.folder.pinned in names:
            names.remove(self.folder.pinned)
            names.insert(0, self.folder.pinned)
        yield from names


class Models:
    """All models of a server.

    Parameters
    ----------
    path, name
        As for `folders.find_models`.
    limits
        As for `Batcher`.
    say
        Is given a line about every version that answers or is refused.
    """

    def __init__(self, path: str | Path, name: str | None, limits: Limits, say: Callable[[str], None]) -> None:
        self._path, self._name, self._limits, self._say = Path(path), name, limits, say
        self._scoring = ThreadPoolExecutor(1, "fieldwise-scoring")
        self._loading = ThreadPoolExecutor(1, "fieldwise-loading")
        self._explaining = ThreadPoolExecutor(1, "fieldwise-explaining")
        self.by_name: dict[str, Model] = {}
        self._retired: list[Version] = []

    def load(self) -> None:
        """Load the models for the first time.

        Raises
        ------
        ArtefactError
            There is none that can answer.
        """
        self._follow(self._find())
        for model in self.by_name.values():
            self._place(model, self._due(model))
        for remark in filter(None, map(forgetting_remark, [self._path, *sorted(self._path.glob("*"))])):
            self._say(remark)
        if not any(model.current for model in self.by_name.values()):
            reasons = "; ".join(why for model in self.by_name.values() for _, why in model.refused.values())
            raise ArtefactError(
                "no model found that can answer",
                where=self._path,
                expected="a bundle, a run, or a folder of models with versions",
                got=reasons or None,
            )

    @property
    def ready(self) -> bool:
        """Whether a model answers: one that is half copied yet takes no others away."""
        return any(model.current is not None for model in self.by_name.values())

    def model(self, name: str) -> Model:
        """Return a model; raise `Refusal` (404) if there is none of this name."""
        model = self.by_name.get(name)
        if model is None:
            raise Refusal(404, f"no model {name[:100]!r}; there is: {', '.join(self.by_name)}")
        return model

    def version(self, name: str, version: str | None = None) -> Version | None:
        """Return a version that is in memory, the one that answers unless another is named."""
        model = self.model(name)
        return model.current if version is None else model.loaded(version)

    async def opened(self, name: str, version: str | None) -> Version:
        """Return a version, opened for this if it is on disk only.

        Raises
        ------
        Refusal
            There is none (404), or it cannot answer (503).
        """
        model = self.model(name)
        if version is None or version in model.refused:
            why = _UNUSABLE.format(version) if version is not None else "no version has been loaded"
            raise Refusal(503, f"model {name} does not answer: {why}", ((b"retry-after", b"5"),))
        if version not in model.folder.versions:
            raise Refusal(404, f"model {name} has no version {version[:100]!r}; there is: {', '.join(model.versions)}")
        loop = asyncio.get_running_loop()
        opened = await loop.run_in_executor(self._loading, self._open_other, model, version)
        if opened is None:
            raise Refusal(503, f"model {name} does not answer: {_UNUSABLE.format(version)}")
        if opened is model.current:
            return opened
        kept = model.others.setdefault(version, opened)
        self._close_idle(model, besides=kept)
        return kept

    def _open_other(self, model: Model, version: str) -> Version | None:
        return model.loaded(version) or self._try(model, version)

    async def explain(self, version: Version, rows: Rows) -> Explanation:
        """Return what each field adds to the logits of rows; they wait for each other, and answers wait for none.

        Raises
        ------
        Refusal
            A row cannot be read, or the model cannot be explained.
        """
        if not rows.num_rows:
            raise Refusal(400, "there is no row to explain")
        columns = dict(zip(version.reads.names, rows.columns, strict=True))
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._explaining, version.predictor.explain, columns)
        except (UserError, TypeError) as error:
            raise refused(error) from None

    async def follow(self, seconds: float) -> None:
        """Look for new versions, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(seconds)
            if self._retired:
                self._retired = [version for version in self._retired if version.users]
                # What a version leaves in cycles keeps its table mapped.
                await loop.run_in_executor(self._loading, gc.collect)
            try:
                self._follow(await loop.run_in_executor(self._loading, self._find))
                for model in list(self.by_name.values()):
                    self._place(model, await loop.run_in_executor(self._loading, self._due, model))
                    self._close_idle(model)
            except Exception as error:  # a folder that has gone, a disk that fails: what is in memory answers
                self._say(f"no new versions are seen: {one_line(error)}")

    def close(self) -> None:
        """Let go of everything."""
        self._loading.shutdown(wait=False, cancel_futures=True)
        self._scoring.shutdown()
        self._explaining.shutdown()
        for model in self.by_name.values():
            for version in filter(None, (model.current, *model.others.values())):
                version.retire()

    def _find(self) -> Mapping[str, ModelFolder]:
        return find_models(self._path, self._name)

    def _follow(self, found: Mapping[str, ModelFolder]) -> None:
        for name, folder in found.items():
            before = self.by_name[name].folder.pinned if name in self.by_name else None
            if folder.pinned not in (None, before, *folder.versions):
                self._say(
                    f"model {name}: current names {folder.pinned}, which is not there; the highest version answers"
                )
            if name in self.by_name:
                self.by_name[name].folder = folder
            else:
                self.by_name[name] = Model(name, folder)
        for name in self.by_name.keys() - found.keys():
            # What has answered goes on: a folder that is gone for a moment is not a wish to stop.
            self.by_name[name].folder = ModelFolder({})
        for model in self.by_name.values():
            for gone in model.refused.keys() - model.folder.versions.keys():
                del model.refused[gone]

    def _due(self, model: Model) -> Version | None:
        """Return the version that should answer and does not yet, opened; None where there is no such."""
        for name in model.wanted():
            current = model.current
            is_current = current is not None and current.path == model.folder.versions[name]
            if is_current and current is not None and signature_of(current.path) == current.signature:
                return None
            version = self._try(model, name)
            if version is not None or is_current:  # where its files have been damaged, what is in memory answers
                return version
        return None

    def _try(self, model: Model, name: str) -> Version | None:
        """Open a version; None if it cannot be used, which is said once for each state of its files."""
        path = model.folder.versions[name]
        signature = signature_of(path)
        if name in model.refused and model.refused[name][0] == signature:
            return None
        try:
            version = Version(model.name, name, path, self._limits, self._scoring)
        except Exception as error:  # whatever is wrong with it, others answer
            _, said = model.refused.get(name, (None, None))
            model.refused[name] = (signature, one_line(error))
            if said != one_line(error):
                self._say(f"model {model.name}: version {name or path} refused: {one_line(error)}")
            return None
        model.refused.pop(name, None)
        return version

    def _place(self, model: Model, version: Version | None) -> None:
        """Let a version answer from now on."""
        if version is None:
            return
        before, model.current = model.current, version
        other = model.others.pop(version.name, None)
        if other is not None:
            self._retire(other)
        if before is not None:
            self._say(f"model {model.name}: version {version.name} answers, in place of {before.name}")
            self._retire(before)

    def _retire(self, version: Version) -> None:
        version.retire()
        self._retired.append(version)

    def _close_idle(self, model: Model, besides: Version | None = None) -> None:
        """Close versions that were asked for by name and are not any more, or are too many."""
        by_use = sorted(model.others.items(), key=lambda item: item[1].last_used, reverse=True)
        for place, (name, version) in enumerate(by_use):
            idle = time.time() - version.last_used > _IDLE
            if (idle or place >= _NUM_OTHERS) and not version.users and version is not besides:
                del model.others[name]
                self._retire(version)
