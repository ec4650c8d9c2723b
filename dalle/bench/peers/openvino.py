"""OpenVINO: our decoder as a stateful graph, the form in which it runs language models fastest.

The graph has our weights, so its logits can be compared with ours. In float32 throughout, and as it comes, when it
takes shorter numbers wherever the processor has instructions for them.

Letters: B sequences, S positions read at once, P positions read before, H heads, K channels of a head.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dalle.bench.contender import Entry, sample
from dalle.bench.workload import Storage, Workload
from dalle.nn.transformer import Transformer

IN_FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}


class OpenVino:
    def __init__(self, settings: dict[str, str], work: Workload):
        import openvino

        self.work = work
        graph = Graph(work.transformer()).model()
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = openvino.Core().compile_model(graph, "CPU", hints | settings)
        kinds = (compiled.get_property(name) for name in ("INFERENCE_PRECISION_HINT", "KV_CACHE_PRECISION"))
        self.storage = Storage(*(kind.size for kind in kinds))
        self.request = compiled.create_infer_request()

    def draw(self, known: int) -> Iterator[Tensor]:
        n, text = self.work.candidates, self.work.text_len
        tokens = torch.zeros(1, text + known, dtype=torch.long)
        tokens[:, text:] = self.work.text_vocab
        with self.sentence():
            self.read(tokens, torch.zeros(1, dtype=torch.int32))
            tokens = torch.zeros(n, dtype=torch.long)
            origin = torch.zeros(n, dtype=torch.int32)  # every candidate goes on from the one sequence
            while True:
                logits = self.read(tokens[:, None] + self.work.text_vocab, origin)
                with _one_thread():
                    tokens = sample(logits, self.work)
                origin = torch.arange(n, dtype=torch.int32)
                yield tokens

    @contextmanager
    def sentence(self) -> Iterator[None]:
        """The graph's state begins empty, and does not outlive the sentence."""
        self.position = 0
        try:
            yield
        finally:
            self.request.reset_state()

    def read(self, tokens: Tensor, origin: Tensor) -> Tensor:
        """(B, S) tokens, image ones after the text's, (B,) sequences that they continue -> (B, V) next logits."""
        size = tokens.shape[1]
        seen = torch.ones(size, self.position + size).tril(self.position)
        feed = {
            "tokens": tokens.numpy(),
            "positions": torch.arange(self.position, self.position + size).expand(tokens.shape).contiguous().numpy(),
            "mask": seen.log()[None, None].numpy(),
            "origin": origin.numpy(),
        }
        self.position += size
        return torch.from_numpy(self.request.infer(feed, share_inputs=True, share_outputs=True)[0])


class Graph:
    """A `Transformer` with full attention and without options, in OpenVINO's operators."""

    def __init__(self, net: Transformer):
        from openvino import Type, opset13

        self.op, self.net = opset13, net
        self.heads, self.channels = net.config.heads, net.config.width // net.config.heads
        self.tokens = opset13.parameter([-1, -1], Type.i64, name="tokens")  # (B, S)
        self.positions = opset13.parameter([-1, -1], Type.i64, name="positions")  # (B, S)
        self.mask = opset13.parameter([1, 1, -1, -1], Type.f32, name="mask")  # (1, 1, S, P + S)
        self.origin = opset13.parameter([-1], Type.i32, name="origin")  # (B,)
        self.sinks: list[Any] = []

    def model(self) -> Any:
        """The graph: tokens to the logits behind the last of them, keys and values in its state."""
        from openvino import Model

        op, net = self.op, self.net
        table = torch.cat([net.text_embedding.weight, net.image_embedding.weight])
        x = op.add(self._rows(table, self.tokens), self._rows(net.position, self.positions))  # (B, S, D)
        for layer in net.layers:
            x = op.add(x, self._attention(self._norm(x, layer.attention_norm), layer.attention))
            up = op.gelu(self._linear(self._norm(x, layer.mlp_norm), layer.mlp.up), "erf")
            x = op.add(x, self._linear(up, layer.mlp.down))
        last = op.gather(x, self._whole(-1), self._whole(1))  # (B, D)
        logits = self._linear(self._norm(last, net.norm), net.image_head)
        return Model([op.result(logits)], self.sinks, [self.tokens, self.positions, self.mask, self.origin])

    def _attention(self, x: Any, attention: Any) -> Any:
        op = self.op
        qkv = op.reshape(self._linear(x, attention.qkv), self._whole([0, 0, 3, self.heads, self.channels]), True)
        qkv = op.transpose(qkv, self._whole([2, 0, 3, 1, 4]))  # (3, B, H, S, K)
        q, k, v = (op.gather(qkv, self._whole(part), self._whole(0)) for part in range(3))
        y = op.scaled_dot_product_attention(q, self._remember(k), self._remember(v), self.mask)
        y = op.reshape(op.transpose(y, self._whole([0, 2, 1, 3])), self._whole([0, 0, -1]), True)
        return self._linear(y, attention.out)

    def _remember(self, new: Any) -> Any:
        """(B, H, S, K) of the positions now read -> (B, H, P + S, K) of all."""
        from openvino import PartialShape, Type
        from openvino.op.util import Variable, VariableInfo

        op, info = self.op, VariableInfo()
        info.data_shape = PartialShape([-1, self.heads, -1, self.channels])
        info.data_type = Type.f32
        info.variable_id = f"cache {len(self.sinks)}"
        variable = Variable(info)
        batch = op.gather(op.shape_of(self.tokens), self._whole([0]), self._whole(0))
        nothing = op.concat([batch, self._whole([self.heads, 0, self.channels])], 0)
        empty = op.broadcast(op.constant(np.float32(0)), nothing)
        before = op.gather(op.read_value(empty, variable), self.origin, self._whole(0))
        whole = op.concat([before, new], 2)
        self.sinks.append(op.assign(whole, variable))
        return whole

    def _linear(self, x: Any, layer: nn.Linear) -> Any:
        return self.op.add(self.op.matmul(x, self._constant(layer.weight), False, True), self._constant(layer.bias))

    def _norm(self, x: Any, norm: nn.LayerNorm) -> Any:
        flat = self.op.mvn(x, self._whole([-1]), True, norm.eps, "inside_sqrt")
        return self.op.add(self.op.multiply(flat, self._constant(norm.weight)), self._constant(norm.bias))

    def _rows(self, table: Tensor, index: Any) -> Any:
        return self.op.gather(self._constant(table), index, self._whole(0))

    def _constant(self, values: Tensor) -> Any:
        return self.op.constant(values.detach().numpy())

    def _whole(self, values: int | list[int]) -> Any:
        return self.op.constant(np.array(values, dtype=np.int64))


@contextmanager
def _one_thread() -> Iterator[None]:
    """PyTorch's second thread would wait for more work, and keep a core from OpenVINO."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _entry(name: str, settings: dict[str, str]) -> Entry:
    return Entry(name, partial(OpenVino, settings), "openvino")


ENTRIES = (_entry("OpenVINO, float32", IN_FLOAT32), _entry("OpenVINO, as it comes", {}))
