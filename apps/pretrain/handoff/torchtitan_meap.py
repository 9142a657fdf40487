"""Continues a hand-off in torchtitan (0.3) with its weights, moments, masked rows and learning rates.

    PYTHONPATH=FOLDER torchrun --nproc-per-node 8 -m torchtitan.train --module torchtitan_meap --config meap

Append torchtitan's own flags, such as --training.local_batch_size 4. Steps are counted from the hand-off: step 1 here is
step `first_step` + 1 of the run.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor, distribute_tensor
from torchtitan.components.checkpoint import CheckpointManager
from torchtitan.components.dataloader import ParallelAwareDataloader
from torchtitan.components.loss import ChunkedLossWrapper, CrossEntropyLoss
from torchtitan.components.metrics import MetricsProcessor
from torchtitan.components.optimizer import LRSchedulersContainer, OptimizersContainer, ParamGroupConfig
from torchtitan.components.validate import Validator
from torchtitan.config import TrainingConfig
from torchtitan.models.common import ComplexRoPE, Embedding, Linear, RMSNorm
from torchtitan.models.common.attention import ScaledDotProductAttention
from torchtitan.models.common.config_utils import make_ffn_config, make_gqa_config
from torchtitan.models.llama3 import Llama3Model, parallelize_llama
from torchtitan.models.llama3.model import Llama3TransformerBlock
from torchtitan.models.llama3.state_dict_adapter import Llama3StateDictAdapter
from torchtitan.distributed.pipeline_parallel import pipeline_llm
from torchtitan.protocols.model_spec import ModelSpec
from torchtitan.trainer import Trainer

from handoff_rows import Rows, read_index

FOLDER = Path(__file__).resolve().parent
# Placeholder initializers: the weights are loaded from model/.
EMPTY = {"weight": torch.nn.init.zeros_, "bias": torch.nn.init.zeros_}


def model_config(hf):
    """Returns torchtitan's Llama 3 configuration for a Hugging Face config.json."""
    if hf["model_type"] != "llama":
        raise NotImplementedError(f"model_type: got {hf['model_type']}, expected llama; write a torchtitan configuration for it")
    dim, vocab_size, head_dim = hf["hidden_size"], hf["vocab_size"], hf["head_dim"]

    def norm():
        return RMSNorm.Config(normalized_shape=dim, eps=hf["rms_norm_eps"], param_init=EMPTY)

    def layer():
        return Llama3TransformerBlock.Config(
            attention_norm=norm(),
            ffn_norm=norm(),
            attention=make_gqa_config(
                dim=dim,
                n_heads=hf["num_attention_heads"],
                n_kv_heads=hf["num_key_value_heads"],
                head_dim=head_dim,
                wqkv_param_init=EMPTY,
                wo_param_init=EMPTY,
                # Causal over the whole row, across document boundaries, as in the run.
                inner_attention=ScaledDotProductAttention.Config(),
                fuse_qkv=True,
                rope=ComplexRoPE.Config(
                    dim=head_dim,
                    max_seq_len=hf["max_position_embeddings"],
                    theta=hf["rope_theta"],
                    **rope_scaling(hf.get("rope_scaling")),
                ),
            ),
            feed_forward=make_ffn_config(
                dim=dim, hidden_dim=hf["intermediate_size"], w1_param_init=EMPTY, w2w3_param_init=EMPTY
            ),
        )

    return Llama3Model.Config(
        dim=dim,
        vocab_size=vocab_size,
        enable_weight_tying=hf["tie_word_embeddings"],
        tok_embeddings=Embedding.Config(num_embeddings=vocab_size, embedding_dim=dim, param_init=EMPTY),
        norm=norm(),
        lm_head=Linear.Config(in_features=dim, out_features=vocab_size, param_init=EMPTY),
        layers=[layer() for _ in range(hf["num_hidden_layers"])],
    )


def rope_scaling(scaling):
    if scaling is None:
        return {}
    if scaling["rope_type"] != "llama3":
        raise NotImplementedError(f"rope_type: got {scaling['rope_type']!r}, expected llama3, the only scaling torchtitan shares with transformers")
    names = ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    return {"scaling": "llama", "scaling_factor": scaling["factor"], **{name: scaling[name] for name in names}}


class RankRows(torch.utils.data.IterableDataset):
    """The rows of one data-parallel rank; all ranks together read the rows of each step in order."""

    def __init__(self, part, rank, num_ranks, batch_size):
        self.rows, self.rank, self.num_ranks, self.batch_size = Rows(FOLDER, part), rank, num_ranks, batch_size
        self.num_read = 0

    def __iter__(self):
        # Drops the last partial batch, so that all ranks read equally many.
        end = len(self.rows) // (self.batch_size * self.num_ranks) * self.batch_size
        while self.num_read < end:
            batch, row = divmod(self.num_read, self.batch_size)
            self.num_read += 1
            inputs, targets = self.rows[(batch * self.num_ranks + self.rank) * self.batch_size + row]
            yield {"input": inputs}, targets

    def state_dict(self):
        return {"num_read": self.num_read}

    def load_state_dict(self, state):
        self.num_read = state["num_read"]


class HandoffLoader(ParallelAwareDataloader):
    @dataclass(kw_only=True, slots=True)
    class Config(ParallelAwareDataloader.Config):
        part: str = "train"
        infinite: bool = False  # set by the validator

    def __init__(self, config, *, dp_world_size, dp_rank, local_batch_size, snapshot_every_n_steps=1, **_):
        rows = RankRows(config.part, dp_rank, dp_world_size, local_batch_size)
        options = {"batch_size": local_batch_size, "snapshot_every_n_steps": snapshot_every_n_steps}
        super().__init__(rows, dp_rank, dp_world_size, **options)


def shard_like(tensor, full):
    if not isinstance(tensor, DTensor):
        return full
    return distribute_tensor(full.to(tensor.device), tensor.device_mesh, tensor.placements)


class HandoffAdamW(OptimizersContainer):
    """AdamW initialized with the moments of the run."""

    @dataclass(kw_only=True, slots=True)
    class Config(OptimizersContainer.Config):
        moments: str = ""
        updates: int = 0

    def __init__(self, config, *, model_parts):
        super().__init__(config, model_parts=model_parts)
        moments = load_file(config.moments)
        for model in model_parts:
            adapter = Llama3StateDictAdapter(model.config, None)
            for moment in ("exp_avg", "exp_avg_sq"):
                # Loading moments as weights applies the model's rotary layout, fused projections and sharding. The
                # weights themselves are loaded later.
                prefix = f"{moment}."
                named = {name.removeprefix(prefix): t for name, t in moments.items() if name.startswith(prefix)}
                full = adapter.from_hf(named)
                model.load_state_dict({name: shard_like(t, full[name]) for name, t in model.state_dict().items()})
                for parameter in model.parameters():
                    self._state_of(parameter)[moment] = parameter.detach().clone()
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    device = parameter.device if group["fused"] else "cpu"
                    optimizer.state[parameter]["step"] = torch.tensor(float(config.updates), device=device)

    def _state_of(self, parameter):
        (optimizer,) = self.optimizers
        return optimizer.state[parameter]


class HandoffRates(LRSchedulersContainer):
    """The recorded learning rate of each step."""

    @dataclass(kw_only=True, slots=True)
    class Config(LRSchedulersContainer.Config):
        rates: str = ""
        peak: float = 1.0

        def build(self, *, optimizers, training_steps):
            factors = np.load(self.rates) / self.peak
            return HandoffRates(optimizers, lambda step: float(factors[min(step, len(factors) - 1)]))


def meap() -> Trainer.Config:
    index, hf = read_index(FOLDER), json.loads((FOLDER / "model/config.json").read_text())
    train, adamw = index["train"], index["optimizer"]
    group = ParamGroupConfig(
        pattern=".*",
        optimizer_name="AdamW",
        optimizer_kwargs={
            "lr": adamw["learning_rate"],
            "betas": (adamw["beta1"], adamw["beta2"]),
            "eps": adamw["epsilon"],
            "weight_decay": adamw["weight_decay"],
        },
    )
    return Trainer.Config(
        model_spec=ModelSpec(
            name="llama3",
            flavor="meap",
            model=model_config(hf),
            parallelize_fn=parallelize_llama,
            pipelining_fn=pipeline_llm,
            post_optimizer_build_fn=None,
            state_dict_adapter=Llama3StateDictAdapter,
        ),
        hf_assets_path=str(FOLDER / "model"),
        loss=ChunkedLossWrapper.Config(loss_fn=CrossEntropyLoss.Config(global_vocab_size=hf["vocab_size"])),
        optimizer=HandoffAdamW.Config(
            param_groups=[group], moments=str(FOLDER / adamw["file"]), updates=adamw["step"]
        ),
        lr_scheduler=HandoffRates.Config(
            rates=str(FOLDER / train["learning_rates"]["file"]), peak=adamw["learning_rate"]
        ),
        training=TrainingConfig(
            local_batch_size=train["micro_batch_size"],
            global_batch_size=train["global_batch_size"],
            seq_len=train["sequence_length"],
            max_norm=adamw["max_grad_norm"],
            steps=train["steps"],
            # CUDA graphs are faster but untested here: --training.no-disable-cuda-graphs
            disable_cuda_graphs=True,
        ),
        dataloader=HandoffLoader.Config(part="train"),
        validator=Validator.Config(enable=True, freq=500, dataloader=HandoffLoader.Config(part="validation")),
        metrics=MetricsProcessor.Config(log_freq=1),
        checkpoint=CheckpointManager.Config(
            enable=True,
            interval=500,
            initial_load_path=str(FOLDER / "model"),
            initial_load_in_hf=True,
            initial_load_model_only=True,
            last_save_in_hf=True,
        ),
    )
