"""The adaptive feature bank: what each object has looked like, within a budget (AFB-URR, section 3.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.core.files import MB

READ = 1e-3  # weight from which on a query cell counts as having read a bank's cell
MOST_USED = 1e5


@dataclass
class Cells:
    """One object's bank: keys (C, n), values (V, n); each cell's frame and how much it was read, (n,)."""

    keys: Tensor
    values: Tensor
    born: Tensor
    used: Tensor

    def __len__(self) -> int:
        return self.keys.shape[1]

    def pick(self, cells: Tensor) -> Cells:
        """Those cells, in that order; indices (m,) or a choice bool (n,)."""
        return Cells(self.keys[:, cells], self.values[:, cells], self.born[cells], self.used[cells])

    def followed_by(self, other: Cells) -> Cells:
        """Both, the other's last."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Cells(*(torch.cat(pair, dim=-1) for pair in pairs))

    @property
    def nbytes(self) -> int:
        """Bytes of all four."""
        return sum(x.nbytes for x in (self.keys, self.values, self.born, self.used))


@dataclass(frozen=True)
class Match:
    """A frame's m cells compared with a bank of n.

    likeness, nearest: for each, the cosine to the most similar cell of the bank, and its place, (m,).
    merged: whether it is similar enough, bool (m,). often: uses per frame of a bank's cell, (n,).
    shown: the same, or empty where the CPU does not need it.
    """

    likeness: Tensor
    nearest: Tensor
    merged: Tensor
    often: Tensor
    shown: Tensor

    def asked(self) -> tuple[Tensor, Tensor]:
        """What the CPU must know: how many cells are not merged (1,), and `shown`."""
        return (~self.merged).sum().float()[None], self.shown


@dataclass(frozen=True)
class Report:
    """How a video used its banks. budget: cells each object may have; cells: those in all banks now. peak:
    the fullest bank as a
    part of the budget. evicted: cells that were dropped; stored: all that ever were in a bank."""

    objects: int
    budget: int
    cells: int
    peak: float
    evicted: int
    stored: int

    def __str__(self) -> str:
        share = self.evicted / max(1, self.stored)
        return (
            f"{self.objects} objects with the background, {self.budget} cells each, {self.peak:.1%} full at"
            f" most, {self.evicted} of {self.stored} cells replaced ({share:.1%})"
        )


class FeatureBank:
    """The banks of a video's objects, the background first.

    State: `cells`, one bank for each object, None until it has been seen; at most `budget` cells in all,
    shared equally (`whole`: as published, see `_begin` and `_evict_whole`). Working memory of an operation:
    about `max_bytes`.
    """

    def __init__(
        self,
        *,
        budget: int,
        update_rate: float,
        merge_above: float,
        whole: bool = False,
        max_bytes: int = 64 * MB,
    ) -> None:
        self.budget, self.rate, self.merge_above = budget, update_rate, merge_above
        self.whole, self.max_bytes = whole, max_bytes
        self.cells: list[Cells | None] = []
        self.peak, self.evicted, self.stored = 0.0, 0, 0

    @property
    def share(self) -> float:
        """Cells each object may have."""
        count = max(1, len(self.cells))
        if self.whole and count == 2:
            return 0.8 * (self.budget // 2)  # as published
        return max(1, self.budget // count)

    @property
    def sizes(self) -> list[int]:
        """Cells of each object's bank."""
        return [0 if cells is None else len(cells) for cells in self.cells]

    @property
    def nbytes(self) -> int:
        """Bytes of all banks."""
        return sum(cells.nbytes for cells in self.cells if cells is not None)

    def report(self) -> Report:
        """How the banks were used up to now."""
        return Report(len(self.cells), int(self.share), sum(self.sizes), self.peak, self.evicted, self.stored)

    def widen(self, count: int) -> None:
        """`count` more objects, not seen yet; the others' shares shrink with their next update."""
        self.cells += [None] * count

    def select(self, objects: list[int]) -> None:
        """Keep these objects only, in this order."""
        self.cells = [self.cells[k] for k in objects]

    def forget(self) -> None:
        """All objects are as if never seen."""
        self.cells = [None] * len(self.cells)

    # -- reading

    def read(self, query: Tensor) -> Tensor:
        """Return what each of K+1 objects reads by a frame's key (C, h, w): float32 (K+1, V, h, w).

        The banks count what was read.
        """
        height, width = query.shape[-2:]
        cells = [c for c in self.cells if c is not None]
        assert len(cells) == len(self.cells), "every object has been seen"
        with torch.autocast(query.device.type, enabled=False):
            flat = query.float().flatten(1)  # (C, q)
            return torch.stack([self._read(c, flat) for c in cells]).unflatten(-1, (height, width))

    def _read(self, cells: Cells, query: Tensor) -> Tensor:
        """softmax over the bank of <key, query> / sqrt(C), times the values: (C, q) -> (V, q)."""
        found, counts = [], torch.zeros_like(cells.used)
        for part in query.split(self._columns(len(cells), copies=3), dim=1):
            weights = (cells.keys.T @ part / math.sqrt(len(part))).softmax(dim=0)  # (n, q)
            counts += (weights > READ).sum(dim=1)
            found.append(cells.values @ weights)
        cells.used = cells.used + (counts + 1).log()
        return torch.cat(found, dim=1)

    def _columns(self, rows: int, *, copies: int) -> int:
        """How many columns of `rows` numbers fit, `copies` times."""
        return max(1, self.max_bytes // (4 * copies * max(1, rows)))

    # -- learning

    def absorb(self, keys: Tensor, values: Tensor, *, index: int) -> None:
        """Take in frame `index`: keys (K+1, C, n), values (K+1, V, n). A new object begins its bank.

        Indices grow from call to call. The device is asked once: how many cells of each object are new.
        """
        frame = [_fresh(*pair, index) for pair in zip(keys.float(), values.float(), strict=True)]
        matches = [
            self._match(old, new, index) if old else None  # one may have been emptied
            for old, new in zip(self.cells, frame, strict=True)
        ]
        asked = [x for match in matches if match for x in match.asked()]
        counts = iter(torch.cat(asked).cpu().split([len(x) for x in asked]) if asked else ())
        for k, (old, new, match) in enumerate(zip(self.cells, frame, matches, strict=True)):
            if old and match:
                coming, often = int(next(counts)), next(counts)
                cells = self._update(old, new, match, coming=coming, often=often)
            else:
                cells = self._begin(new)
            self.cells[k], self.peak = cells, max(self.peak, len(cells) / self.share)

    def _begin(self, cells: Cells) -> Cells:
        """A bank of one frame; evenly thinned where its share is smaller (published: never)."""
        if not self.whole and len(cells) > self.share:
            places = torch.linspace(0, len(cells) - 1, int(self.share), device=cells.keys.device)
            cells = cells.pick(places.round().long())
        self.stored += len(cells)
        return cells

    def _match(self, cells: Cells, new: Cells, index: int) -> Match:
        """What is new in a frame beside a bank, and how often the bank's cells were used per frame."""
        likeness, nearest = self._nearest(cells.keys, new.keys)  # (m,), (m,)
        often = cells.used / (index - cells.born)
        needed = self.whole and self.share < len(cells) + len(new)
        return Match(likeness, nearest, likeness > self.merge_above, often, often if needed else often[:0])

    def _update(self, cells: Cells, new: Cells, match: Match, *, coming: int, often: Tensor) -> Cells:
        """Merge what is similar, append the rest, and evict so that there is room.

        coming: how many cells are new. often: (n,) on the CPU where `whole` may need it.
        """
        self._merge(cells, new, match)
        fresh = match.merged.to(torch.uint8).argsort(stable=True)[:coming]  # in order
        if coming > self.share:  # the newest looks alone fill it: those least like anything known
            least = match.likeness[fresh].argsort(stable=True)[: int(self.share)]
            fresh = fresh[least.sort().values]
        if self.share < len(cells) + len(fresh):
            if self.whole:
                kept = self._evict_whole(often, len(fresh)).to(match.often.device)
            else:
                order = match.often.argsort(descending=True, stable=True)
                kept = order[: int(self.share) - len(fresh)].sort().values
            self.evicted += len(cells) - len(kept)
            cells = cells.pick(kept)
        self.stored += len(fresh)
        joined = cells.followed_by(new.pick(fresh))
        joined.used = joined.used.clamp(0, MOST_USED)
        return joined

    def _nearest(self, ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
        """Of keys (C, m) the cosine to the most similar of (C, n), and its place, (m,) each."""
        unit, columns = F.normalize(ours, dim=0).T, self._columns(ours.shape[1], copies=2)
        parts = [(unit @ part).max(dim=0) for part in F.normalize(theirs, dim=0).split(columns, dim=1)]
        return torch.cat([p.values for p in parts]), torch.cat([p.indices for p in parts])

    def _merge(self, cells: Cells, new: Cells, match: Match) -> None:
        """Turn the bank's cells towards the new ones that are like them, their lengths kept.

        The mean of unit vectors is no unit vector, so that lengths shrink a little, as published.
        """
        weight = match.merged.float()  # (m,): the others count as 0
        counts = summed_at(weight[None], match.nearest, len(cells))[0]  # (n,)

        def turned(old: Tensor, new: Tensor) -> Tensor:
            unit, coming = F.normalize(old, dim=0), F.normalize(new, dim=0)
            mean = summed_at(coming * weight, match.nearest, len(cells)) / counts.clamp(min=1)
            towards = old.norm(dim=0) * ((1 - self.rate) * unit + self.rate * mean)
            return torch.where(counts > 0, towards, old)

        cells.keys, cells.values = turned(cells.keys, new.keys), turned(cells.values, new.values)

    def _evict_whole(self, often: Tensor, coming: int) -> Tensor:
        """Which cells stay so that `coming` more fit: indices, in order, on the CPU.

        All go up to a whole number of uses per frame, the lowest that makes room, as published.
        """
        kept = torch.arange(len(often))
        while True:
            kept = kept[often[kept] > int(often[kept].min()) + 1]
            if not len(kept) or self.share - len(kept) - coming >= 0:
                return kept


def summed_at(x: Tensor, place: Tensor, count: int) -> Tensor:
    """Sums (C, count) of the columns of x (C, m) that have the same `place` (m,), the same on every run.

    CUDA adds in any order but where values are accumulated by index, the CPU only there.
    """
    if x.is_cuda:
        sums = x.new_zeros(count, len(x)).index_put((place,), x.T, accumulate=True)
        return sums.T
    return x.new_zeros(len(x), count).index_add(1, place, x)


def _fresh(keys: Tensor, values: Tensor, index: int) -> Cells:
    """Cells that nothing has read."""
    none = keys.new_zeros(keys.shape[1])
    return Cells(keys, values, none + index, none.clone())
