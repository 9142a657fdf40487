#!/usr/bin/env python3
"""llama.cpp on a GGUF file, as decode.mjs's peer: for each prompt on a line of standard input, the seconds to read it, the
median of those that a token takes, and the tokens. With one thread, seconds of processor time.

llama_cpp_peer.py FILE TOKENS THREADS
"""
import json
import statistics
import sys
import time

import llama_cpp
import numpy as np

path, new_tokens, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
now = time.process_time if threads == 1 else time.perf_counter
model = llama_cpp.Llama(
    path, n_ctx=4096, n_batch=512, n_ubatch=512, n_threads=threads, n_threads_batch=threads, verbose=False
)
for line in sys.stdin:
    model.reset()
    tokens, ids, times = json.loads(line), [], []
    while len(ids) < new_tokens:
        start = now()
        model.eval(tokens)
        times.append(now() - start)
        logits = llama_cpp.llama_get_logits_ith(model.ctx, -1)
        ids.append(int(np.argmax(np.ctypeslib.as_array(logits, (model.n_vocab(),)))))
        tokens = ids[-1:]
    print(json.dumps({"read": times[0], "each": statistics.median(times[1:]), "ids": ids}), flush=True)
