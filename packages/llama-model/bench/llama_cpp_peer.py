#!/usr/bin/env python3
"""llama.cpp on a checkpoint, as decode.js's peer: writes it as GGUF, reads the prompt's ids from standard input and
prints the seconds to read it, the median of those a token takes, and the tokens.

llama_cpp_peer.py DIRECTORY float32|bfloat16 TOKENS THREADS
"""
import json
import os
import statistics
import sys
import time

import gguf
import llama_cpp
import numpy as np
from safetensors import safe_open

directory, dtype, new_tokens, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
config = json.load(open(os.path.join(directory, "config.json")))
heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name):
    name = name.removesuffix(".weight")
    if name in NAMES:
        return f"{NAMES[name]}.weight"
    _, _, layer, part = name.split(".", 3)
    return f"blk.{layer}.{NAMES[part]}.weight"


def interleaved(weight, n):
    """llama.cpp turns neighbouring dimensions of a head, the checkpoint's convention its halves."""
    return weight.reshape(n, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


path = os.path.join(directory, "model.gguf")
writer = gguf.GGUFWriter(path, "llama")
writer.add_vocab_size(config["vocab_size"])
writer.add_context_length(config["max_position_embeddings"])
writer.add_embedding_length(config["hidden_size"])
writer.add_block_count(config["num_hidden_layers"])
writer.add_feed_forward_length(config["intermediate_size"])
writer.add_head_count(heads)
writer.add_head_count_kv(kv_heads)
writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
writer.add_rope_freq_base(config["rope_theta"])
writer.add_rope_dimension_count(config["hidden_size"] // heads)
writer.add_tokenizer_model("no_vocab")
with safe_open(os.path.join(directory, "model.safetensors"), "pt") as tensors:
    for name in tensors.keys():
        weight = tensors.get_tensor(name).float().numpy()
        if "q_proj" in name:
            weight = interleaved(weight, heads)
        if "k_proj" in name:
            weight = interleaved(weight, kv_heads)
        if dtype == "bfloat16" and weight.ndim == 2:
            weight = gguf.quants.quantize(np.ascontiguousarray(weight), gguf.GGMLQuantizationType.BF16)
            writer.add_tensor(gguf_name(name), weight, raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            writer.add_tensor(gguf_name(name), np.ascontiguousarray(weight))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

prompt = json.load(sys.stdin)
n = len(prompt)
model = llama_cpp.Llama(
    path, n_ctx=n + new_tokens, n_batch=n, n_ubatch=n, n_threads=threads, n_threads_batch=threads, verbose=False
)
# A prompt's first run touches the weights.
read, each = [], []
for _ in range(3):
    model.reset()
    ids, tokens, times = [], prompt, read
    while len(ids) < new_tokens:
        start = time.perf_counter()
        model.eval(tokens)
        times.append(time.perf_counter() - start)
        logits = llama_cpp.llama_get_logits_ith(model.ctx, -1)
        ids.append(int(np.argmax(np.ctypeslib.as_array(logits, (config["vocab_size"],)))))
        tokens, times = ids[-1:], each
print(json.dumps({"read": statistics.median(read), "each": statistics.median(each), "ids": ids}))
