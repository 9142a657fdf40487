"""A memory-mapped PyTorch dataset of the token rows of a hand-off."""

import bisect
import itertools
import json
from pathlib import Path

import numpy as np
import torch


def read_index(folder):
    return json.loads((Path(folder) / "handoff.json").read_text())


class Rows(torch.utils.data.Dataset):
    """(inputs, targets) of each row as int64 tensors [T]. `part` is "train" (masked inputs) or "validation" (unmasked).

    Row i of "train" belongs to step first_step + i // global_batch_size and has the mask of that step.
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
        index = row - (self.ends[shard - 1] if shard else 0)
        return tuple(self._row(self.shards[shard][key]["file"], index) for key in ("inputs", "targets"))

    def _row(self, file, index):
        if file not in self.maps:
            self.maps[file] = np.load(self.folder / file, mmap_mode="r")
        return torch.from_numpy(self.maps[file][index].astype(np.int64))

    def __getstate__(self):
        # Each worker process maps the files itself.
        return {**self.__dict__, "maps": {}}
