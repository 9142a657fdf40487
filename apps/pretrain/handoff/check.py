"""Checks a hand-off in plain PyTorch: loads weights, tokenizer, moments and rows, and reproduces the recorded losses.

    python check.py [FOLDER] [--device cuda]        needs torch, transformers, safetensors

Validates, runs the recorded training steps with torch.optim.AdamW and validates again. Losses must agree to 1e-4 nats and
gradient norms to a relative 1e-4, since summation order differs between the programs. Exits with 1 on any mismatch.
"""

import argparse
import hashlib
import math
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from handoff_rows import Rows, read_index

LOSS_TOLERANCE = 1e-4  # nats per token, bits per byte
NORM_TOLERANCE = 1e-4  # relative


def files_of(value):
    """Yields the (file, sha256) pairs of the index."""
    if isinstance(value, dict):
        if "sha256" in value:
            yield value["file"], value["sha256"]
        for inner in value.values():
            yield from files_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from files_of(inner)


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def count_masks(folder, shards, mask, chunk=1024):
    """Counts masked inputs, and unmasked inputs that differ from the text (expected: none)."""
    masked = changed = 0
    for shard in shards:
        inputs, targets = (np.load(folder / shard[key]["file"], mmap_mode="r") for key in ("inputs", "targets"))
        for first in range(0, len(inputs), chunk):
            x, y = inputs[first : first + chunk], targets[first : first + chunk]
            masked += int((x == mask).sum())
            # Input i + 1 of a row is also its target i.
            changed += int(((x[:, 1:] != y[:, :-1]) & (x[:, 1:] != mask)).sum())
    return masked, changed


def load_optimizer(folder, model, settings):
    """Returns AdamW with the moments of the run."""
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings["learning_rate"],
        betas=(settings["beta1"], settings["beta2"]),
        eps=settings["epsilon"],
        weight_decay=settings["weight_decay"],
    )
    moments = load_file(Path(folder) / settings["file"])
    for name, parameter in model.named_parameters():
        optimizer.state[parameter] = {
            "step": torch.tensor(float(settings["step"])),
            **{m: moments[f"{m}.{name}"].to(parameter.device) for m in ("exp_avg", "exp_avg_sq")},
        }
    return optimizer


def sum_of_losses(model, inputs, targets):
    """Returns the sum of the cross-entropies of all targets in nats, masked positions included."""
    device = next(model.parameters()).device
    logits = model(inputs.to(device)).logits
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.to(device).flatten(), reduction="sum")


@torch.no_grad()
def validate(model, folder, index, batch_size=8):
    rows = Rows(folder, "validation")
    batches = torch.utils.data.DataLoader(rows, batch_size)
    nats = sum(sum_of_losses(model, *batch).double().item() for batch in batches)
    tokens = len(rows) * index["validation"]["sequence_length"]
    num_bytes = np.load(Path(folder) / index["validation"]["bytes"]["file"]).sum()
    return nats / tokens, nats / math.log(2) / num_bytes


def train_step(model, optimizer, folder, index, step, update=True):
    """Runs step `step` of the run, counted from 0; returns its mean loss and its gradient norm before clipping."""
    train = index["train"]
    first = (step - train["first_step"]) * train["global_batch_size"]
    rows = torch.utils.data.Subset(Rows(folder, "train"), range(first, first + train["global_batch_size"]))
    tokens = len(rows) * train["sequence_length"]
    optimizer.zero_grad()
    total = 0.0
    for inputs, targets in torch.utils.data.DataLoader(rows, train["micro_batch_size"]):
        loss = sum_of_losses(model, inputs, targets) / tokens
        loss.backward()
        total += loss.item()
    # In float64: clip_grad_norm_ sums millions of squares in float32 and loses the fifth digit.
    norm = math.sqrt(sum(p.grad.double().square().sum().item() for p in model.parameters()))
    torch.nn.utils.clip_grads_with_norm_(model.parameters(), index["optimizer"]["max_grad_norm"], torch.tensor(norm))
    rates = np.load(Path(folder) / train["learning_rates"]["file"], mmap_mode="r")
    for group in optimizer.param_groups:
        group["lr"] = float(rates[step - train["first_step"]])
    if update:
        optimizer.step()
    return total, norm


class Report:
    def __init__(self):
        self.failures = 0

    def line(self, name, passed, detail):
        self.failures += not passed
        print(f"{'ok  ' if passed else 'FAIL'}  {name:<24} {detail}", flush=True)

    def value(self, name, got, expected, tolerance):
        self.line(name, abs(got - expected) <= tolerance, f"{got:.6f}  recorded {expected:.6f}  off by {got - expected:+.1e}")


def main():
    parser = argparse.ArgumentParser(description="Checks a hand-off of meap in PyTorch.")
    parser.add_argument("folder", nargs="?", default=Path(__file__).parent, type=Path)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    folder, report = arguments.folder, Report()
    index = read_index(folder)
    expected = index["expected"]

    files = list(files_of(index))
    damaged = [file for file, sum in files if not (folder / file).is_file() or sha256(folder / file) != sum]
    report.line("files", not damaged, f"{len(files)} checked{', damaged: ' + ', '.join(damaged) if damaged else ''}")
    if damaged:
        return 1

    mask = index["mask_token_id"]
    masked, changed = count_masks(folder, index["train"]["shards"], mask)
    total = index["train"]["masked_tokens"]
    # Random tokens replace the masked ones with masking.replace_with; one may equal the original.
    is_random = index["masking"]["replace_with"] == "random"
    passed = masked == 0 and 0 < changed <= total if is_random else masked == total and changed == 0
    report.line("masked rows", passed, f"{index['train']['rows']} rows, {masked} masks, {changed} other changes")

    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    inputs, _ = Rows(folder, "train")[0]
    report.line("tokenizer", tokenizer.mask_token_id == mask, repr(tokenizer.decode(inputs[:24])))

    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32).to(arguments.device)

    def check_validation(name, recorded):
        loss, bits_per_byte = validate(model, folder, index)
        report.value(f"{name} loss", loss, recorded["loss"], LOSS_TOLERANCE)
        report.value(f"{name} bits/byte", bits_per_byte, recorded["bits_per_byte"], LOSS_TOLERANCE)

    check_validation("validation", expected["validation"])
    optimizer = load_optimizer(folder, model, index["optimizer"])
    for recorded in expected["steps"]:
        loss, norm = train_step(model, optimizer, folder, index, recorded["step"] - 1, not recorded["skipped"])
        report.value(f"step {recorded['step']} loss", loss, recorded["loss"], LOSS_TOLERANCE)
        report.value(f"step {recorded['step']} gradient", norm, recorded["grad_norm"], NORM_TOLERANCE * recorded["grad_norm"])
    if expected["steps"]:
        check_validation("after steps", expected["validation_after"])
    print("all checks passed" if report.failures == 0 else f"{report.failures} checks failed")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
