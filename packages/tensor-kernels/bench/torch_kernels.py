#!/usr/bin/env python3
"""The kernels of kernels.js in PyTorch, as their peer: reads {"op": ..., "shape": [...]} a line, writes seconds a line."""
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(int(sys.argv[1]))
random = lambda *shape, grad=False: torch.randn(*shape, requires_grad=grad)


def product(m, n, k, transpose_a, transpose_b):
    a = random(k, m).t() if transpose_a else random(m, k)
    b = random(n, k).t() if transpose_b else random(k, n)
    return lambda: torch.mm(a, b)


def attention(b, t, h, g, d, gradient):
    q, k, v = (random(b, n, t, d, grad=bool(gradient)) for n in (h, g, g))

    def run():
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        if gradient:
            torch.autograd.grad(out.sum(), (q, k, v))

    return run


def cross_entropy(n, c, vocabulary):
    x, w = random(n, c, grad=True), random(vocabulary, c, grad=True)
    targets = torch.zeros(n, dtype=torch.long)
    return lambda: torch.autograd.grad(F.cross_entropy(x @ w.t(), targets, reduction="sum"), (x, w))


OPS = {"product": product, "attention": attention, "crossEntropy": cross_entropy}
print(json.dumps(torch.__version__), flush=True)
for line in sys.stdin:
    item = json.loads(line)
    run = OPS[item["op"]](*item["shape"])
    run()
    seconds = []
    while len(seconds) < 3 or (sum(seconds) < 0.5 and len(seconds) < 50):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    print(json.dumps(statistics.median(seconds)), flush=True)
