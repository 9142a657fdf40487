#!/usr/bin/env python3
"""PEFT with bitsandbytes on the CPU, as quantized-step.mjs's peer: a step for each line of standard input; prints its
seconds, of processor time with one thread, and its loss.

peft_peer.py MODEL int8|nf4 LENGTH THREADS
"""
import json
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

path, quantize, length, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(threads)
now = time.process_time if threads == 1 else time.perf_counter
config = (
    BitsAndBytesConfig(load_in_8bit=True)
    if quantize == "int8"
    else BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
)
model = AutoModelForCausalLM.from_pretrained(
    path, quantization_config=config, device_map={"": "cpu"}, dtype=torch.float32
)
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
model.train()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0)
row = torch.tensor([[i * 7919 % model.config.vocab_size for i in range(length + 1)]])
inputs, targets = row[:, :-1], row[0, 1:]
for _ in sys.stdin:
    start = now()
    loss = torch.nn.functional.cross_entropy(model(input_ids=inputs).logits[0].float(), targets)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(json.dumps({"seconds": now() - start, "loss": loss.item()}), flush=True)
