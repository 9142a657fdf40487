#!/usr/bin/env python3
"""Scores requests with transformers on the CPU, for score.mjs.

Tested with Python 3.11, torch 2.15.0, transformers 5.24.0, lm-eval 0.4.13.
usage: transformers_score.py MODEL REQUESTS.json (padded|harness) BATCH

REQUESTS.json is a list of [context ids, continuation ids]. `padded` sorts by length, pads each batch, reads what
requests read alike once, and computes logits only for positions that predict a continuation; `harness` is the loop of lm-evaluation-harness (HFLM).
Prints one JSON line: wall and CPU seconds of scoring, and the sum of log-likelihoods.
"""
import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM

path, requests_path, mode, batch = *sys.argv[1:4], int(sys.argv[4])
requests = json.load(open(requests_path))


def padded(model):
    # Choices of one token, such as letters, are read after the same tokens.
    alike = {}
    for i, (context, continuation) in enumerate(requests):
        alike.setdefault(tuple((context + continuation)[:-1]), []).append(i)
    order = sorted(alike, key=len, reverse=True)
    scores = [0.0] * len(requests)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        longest = max(map(len, rows))
        ids = torch.tensor([list(row) + [0] * (longest - len(row)) for row in rows])
        # A causal model does not see padding at the end.
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        chosen = [(b, len(row), i) for b, row in enumerate(rows) for i in alike[row]]
        at = [(b, length - len(requests[i][1]) + k) for b, length, i in chosen for k in range(len(requests[i][1]))]
        b, t = (torch.tensor(x) for x in zip(*at))
        log_probabilities = torch.log_softmax(model.lm_head(hidden[b, t]), -1)
        targets = torch.tensor([id for _, _, i in chosen for id in requests[i][1]])
        found = log_probabilities.gather(1, targets[:, None])[:, 0]
        greedy = log_probabilities.argmax(-1) == targets
        next_ = 0
        for _, _, i in chosen:
            end = next_ + len(requests[i][1])
            scores[i] = found[next_:end].double().sum().item()
            bool(greedy[next_:end].all())
            next_ = end
    return scores


def harness(model):
    import logging

    from lm_eval.models.huggingface import HFLM

    logging.disable(logging.WARNING)
    lm = HFLM(pretrained=model, tokenizer=tokenizer(), batch_size=batch)
    named = [(("", str(i)), context, continuation) for i, (context, continuation) in enumerate(requests)]
    return timed(lambda: [score for score, _ in lm._loglikelihood_tokens(named, disable_tqdm=True)])


def timed(run):
    began, cpu = time.perf_counter(), time.process_time()
    scores = run()
    return scores, {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}


def tokenizer():
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(path)


with torch.inference_mode():
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    model.model(input_ids=torch.zeros((batch, 32), dtype=torch.long))
    scores, times = harness(model) if mode == "harness" else timed(lambda: padded(model))
print(json.dumps({**times, "sum": sum(scores), "threads": torch.get_num_threads()}))
