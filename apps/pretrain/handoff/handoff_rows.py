"""The token rows of a hand-off, memory-mapped: a PyTorch dataset of (inputs, targets)."""

import bisect
import itertools
import json
from pathlib import Path

import numpy as np
import torch


def read_index(folder):
    return json.loads((Path(folder) / "handoff.json").read_text())


class Rows(torch.utils.data.Dataset):
    """Row i as int64 tensors of T tokens. `part` is "train", with masks in the inputs, or "validation", without.

    Row i of "train" belongs to step first_step + i // global_batch_size, and was masked for that step.
    """

    def __init__(self, folder, part):
        self.folder, self.shards = Path(folder), read_index(folder)[part]["shards"]
        self.ends = list(itertools.accumulate(shard["rows"] for shard in self.shards))
        self.maps = {}

    def __len__(self):
        return self.ends[-1]

    def __getitem__(self, row):
        if not 0 <= row < len(self):
            raise IndexError(row)
        shard = bisect.bisect_right(self.ends, row)
        at = row - (self.ends[shard - 1] if shard else 0)
        return tuple(self._row(self.shards[shard][what]["file"], at) for what in ("inputs", "targets"))

    def _row(self, file, at):
        if file not in self.maps:
            self.maps[file] = np.load(self.folder / file, mmap_mode="r")
        return torch.from_numpy(self.maps[file][at].astype(np.int64))

    def __getstate__(self):
        # A worker process maps the files for itself.
        return {**self.__dict__, "maps": {}}
