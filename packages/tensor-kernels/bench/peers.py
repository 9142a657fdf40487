#!/usr/bin/env python3
"""The kernels of kernels.js elsewhere, on the CPU: PyTorch and, for products, ONNX Runtime (`pip install torch
onnxruntime onnx`, either alone will do).

Writes the peers' names and versions; then reads {"op": ..., "shape": [...]} a line and writes each peer's seconds, null
for work that it has no kernel for.
"""
import json
import statistics
import sys
import time

threads = int(sys.argv[1])


class PyTorch:
    def __init__(self):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.version = torch, torch.__version__

    def random(self, *shape, grad=False):
        return self.torch.randn(*shape, requires_grad=grad)

    def product(self, m, n, k, transpose_a, transpose_b):
        a = self.random(k, m).t() if transpose_a else self.random(m, k)
        b = self.random(n, k).t() if transpose_b else self.random(k, n)
        return lambda: self.torch.mm(a, b)

    def attention(self, b, t, h, g, d, gradient):
        q, k, v = (self.random(b, n, t, d, grad=bool(gradient)) for n in (h, g, g))

        def run():
            out = self.torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            if gradient:
                self.torch.autograd.grad(out.sum(), (q, k, v))

        return run

    def crossEntropy(self, n, c, vocabulary):
        x, w = self.random(n, c, grad=True), self.random(vocabulary, c, grad=True)
        targets = self.torch.zeros(n, dtype=self.torch.long)
        loss = self.torch.nn.functional.cross_entropy
        return lambda: self.torch.autograd.grad(loss(x @ w.t(), targets, reduction="sum"), (x, w))


class OnnxRuntime:
    def __init__(self):
        import numpy
        import onnx
        import onnxruntime

        self.numpy, self.onnx, self.runtime = numpy, onnx, onnxruntime
        self.version = onnxruntime.__version__

    def product(self, m, n, k, transpose_a, transpose_b):
        helper, tensor = self.onnx.helper, self.onnx.TensorProto.FLOAT
        node = helper.make_node("Gemm", ["a", "b"], ["c"], transA=int(transpose_a), transB=int(transpose_b))
        shapes = {"a": (k, m) if transpose_a else (m, k), "b": (n, k) if transpose_b else (k, n), "c": (m, n)}
        a, b, c = (helper.make_tensor_value_info(name, tensor, shape) for name, shape in shapes.items())
        graph = helper.make_graph([node], "product", [a, b], [c])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = threads
        session = self.runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        # Bound to buffers, so that nothing is copied.
        binding = session.io_binding()
        for name in "ab":
            value = self.numpy.random.rand(*shapes[name]).astype("float32")
            binding.bind_ortvalue_input(name, self.runtime.OrtValue.ortvalue_from_numpy(value))
        output = self.numpy.empty(shapes["c"], "float32")
        binding.bind_ortvalue_output("c", self.runtime.OrtValue.ortvalue_from_numpy(output))
        return lambda: session.run_with_iobinding(binding)


def median_seconds(run):
    run()
    seconds = []
    while len(seconds) < 3 or (sum(seconds) < 0.5 and len(seconds) < 50):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


peers = {}
for name, peer in {"PyTorch": PyTorch, "ONNX Runtime": OnnxRuntime}.items():
    try:
        peers[name] = peer()
    except ImportError:
        pass
print(json.dumps({name: peer.version for name, peer in peers.items()}), flush=True)
for line in sys.stdin:
    item = json.loads(line)
    answer = {}
    for name, peer in peers.items():
        work = getattr(peer, item["op"], None)
        answer[name] = median_seconds(work(*item["shape"])) if work else None
    print(json.dumps(answer), flush=True)
