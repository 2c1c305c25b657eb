"""The encoder in plain Python: rows as dictionaries, everything in memory, one value at a time.

A value of a field is a pair (fingerprint, weight); fields are read by their attributes alone.
"""

import datetime as dt
import math
import re
from collections import Counter
from itertools import product
from zoneinfo import ZoneInfo

import numpy as np
from tests.reference.bins import bin_id, quantile_edges, suitable_bins
from tests.reference.canonical import canonical
from tests.reference.fingerprint import fingerprint, xxh64

Value = tuple[int, float]


def text_of(value: object) -> str | None:
    """Canonical text; floats are of moderate size."""
    if value is None or value != value:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return canonical(str(value))


EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def moment_of(value: object, unit: str | None = None, format_: str | None = None) -> dt.datetime | None:
    """A point in time in UTC, to the second below; None for missing. Raises ValueError for what is none."""
    if value is None or value != value or value == "":
        return None
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=value.tzinfo or dt.UTC, microsecond=0)
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    if format_ is not None:
        return dt.datetime.strptime(str(value), format_).replace(tzinfo=dt.UTC)
    try:
        number = float(value)
    except ValueError:
        moment = dt.datetime.fromisoformat(re.sub("[.,][0-9]+", "", str(value)))
        return moment.replace(tzinfo=moment.tzinfo or dt.UTC).astimezone(dt.UTC)
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9, None: 10**9}[unit]
    if unit is None:
        per_second = next((10**n for n, limit in ((0, 1e11), (3, 1e14), (6, 1e17)) if abs(number) < limit), per_second)
    try:
        return EPOCH + dt.timedelta(seconds=number // per_second)
    except OverflowError:
        raise ValueError(value) from None


class ReferenceEncoder:
    def __init__(self, fields, rows: list[dict]) -> None:
        self.fields = {field.name: field for field in fields}
        self.edges: dict[str, list[float]] = {}
        self.moments: dict[str, tuple[float, float]] = {}
        self.ids: dict[str, dict[int, int]] = {}
        for name, field in self.fields.items():
            if field.type == "number" or field.part == "age":
                self.learn_number(field, [self.number(field, row) for row in rows])
            elif field.buckets is None and field.type != "time":
                self.learn_vocabulary(
                    field, Counter(value for row in rows for value, _ in self.values(name, row) if value)
                )

    def learn_number(self, field, numbers: list[float]) -> None:
        if field.edges is not None:
            self.edges[field.name] = list(field.edges)
        elif field.bins is not None:
            self.edges[field.name] = quantile_edges(numbers, field.bins or suitable_bins(numbers))
        elif field.scale != "none":
            curved = [self.curve(field, number) for number in numbers if not math.isnan(number)]
            mean = float(np.mean(curved)) if curved else 0.0
            self.moments[field.name] = mean, (float(np.std(curved)) if len(set(curved)) > 1 else 1.0)

    def learn_vocabulary(self, field, counts: Counter) -> None:
        frequent = [value for value, count in counts.items() if count >= field.min_count]
        frequent.sort(key=lambda value: (-counts[value], value))
        self.ids[field.name] = {value: 2 + i for i, value in enumerate(frequent[: field.max_features])}

    def grow(self, rows: list[dict]) -> None:
        """Give ids to values that are new in more rows, after all others."""
        for name, ids in self.ids.items():
            field = self.fields[name]
            counts = Counter(value for row in rows for value, _ in self.values(name, row) if value)
            new = [value for value, count in counts.items() if value not in ids and count >= field.min_count]
            new.sort(key=lambda value: (-counts[value], value))
            room = len(new) if field.max_features is None else max(field.max_features - len(ids), 0)
            ids.update({value: 2 + i for i, value in enumerate(new[:room], start=len(ids))})

    @staticmethod
    def number(field, row: dict) -> float:
        if field.part == "age":
            end, start = (moment_of(row[name], field.unit, field.format) for name in (field.column, field.since))
            if end is None or start is None:
                return math.nan if field.default is None else float(field.default)
            return (end - start) / dt.timedelta(days=1)
        if row[field.column] in (None, ""):
            return math.nan if field.default is None else float(field.default)
        return float(row[field.column])

    @staticmethod
    def curve(field, number: float) -> float:
        size = {"log": math.log1p, "sqrt": math.sqrt}.get(field.scale, float)(abs(number))
        return math.copysign(size, number)

    def values(self, name: str, row: dict) -> list[Value]:
        """One value, or those of a bag; 0 is missing."""
        field = self.fields[name]
        seed = xxh64(name.encode(), 0)
        default = "" if field.default is None else text_of(field.default) or ""
        if field.type == "cross":
            parts = [self.values(part, row) for part in field.parts]
            if any(value == 0 for part in parts for value, _ in part):
                return [(0, 1.0)]
            return [
                (
                    fingerprint(b"".join(value.to_bytes(8, "little") for value, _ in combination), seed),
                    math.prod((np.float32(weight) for _, weight in combination), start=np.float32(1)),
                )
                for combination in product(*parts)
            ]
        if field.type == "time" and field.part != "age":
            return [(self.calendar_id(field, row[field.column]), 1.0)]
        if field.type in ("number", "time"):
            return [(bin_id(self.number(field, row), self.edges[name], 2), 1.0)]
        if field.type == "category":
            return [(fingerprint((text_of(row[field.column]) or default).encode(), seed), 1.0)]
        found = []
        cell, weights = row[field.column], ["1"] * 100
        if field.weights:
            weights = row[field.weights] or []
            weights = weights if isinstance(weights, list) else weights.split(field.separator)
        elements = (cell or []) if isinstance(cell, list) else (cell or "").split(field.separator)
        for element, weight in zip(elements, weights, strict=False):
            text = element
            if field.weighted and element:
                text, _, weight = element.rpartition(":")
            value = fingerprint((text_of(text) or "").encode(), seed)
            if value:
                found.append((value, float(np.float32(weight))))
        return found[: field.max_length] or [(fingerprint(default.encode(), seed), 1.0)]

    @staticmethod
    def calendar_id(field, value: object) -> int:
        try:
            moment = moment_of(value, field.unit, field.format)
        except ValueError:
            return 1
        if moment is None:
            return 0
        zone = field.timezone or "+00:00"
        if zone[0] in "+-":
            hours, minutes = (int(zone[0] + digits) for digits in zone[1:].split(":"))
            local = moment.astimezone(dt.timezone(dt.timedelta(hours=hours, minutes=minutes)))
        else:
            local = moment.astimezone(ZoneInfo(zone))
        return (
            2
            + {"hour": local.hour, "weekday": local.weekday(), "day": local.day - 1, "month": local.month - 1}[
                field.part
            ]
        )

    def encode(self, name: str, row: dict) -> list[tuple[int, float]]:
        """Local ids, with weights for a bag and the input for a number without bins."""
        field = self.fields[name]
        if (field.type == "number" or field.part == "age") and name not in self.edges:
            number = self.number(field, row)
            mean, std = self.moments.get(name, (0.0, 1.0))
            return [(0, 1.0)] if math.isnan(number) else [(1, (self.curve(field, number) - mean) / std)]
        return [(self.local_id(field, value), weight) for value, weight in self.values(name, row)]

    def local_id(self, field, value: int) -> int:
        if value == 0 or field.type in ("number", "time"):
            return value
        if field.buckets is not None:
            return 2 + value % field.buckets
        return self.ids[field.name].get(value, 1)
