"""The recurrent cells in NumPy, gate by gate, with the weights as an ONNX file holds them.

The equations of docs/lstm.md; ONNX Runtime and torch compute the same without showing the gates. Shapes: T steps of the
recurrence, B windows, I inputs, Z hidden size. Long short-term memory: Hochreiter and Schmidhuber (1997), with the
forget gate of Gers, Schmidhuber and Cummins (2000).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Weights:
    """Of one layer, as the ONNX operators LSTM and RNN name them; G is 4 for LSTM and 1 for RNN.

    Attributes:
        inputs: (G * Z, I), `W` of ONNX. Of an LSTM the gates come in the order i, o, f, c; torch has i, f, g, o.
        recurrent: (G * Z, Z), `R` of ONNX.
        bias: (G * Z,), the sum of ONNX's two biases.
    """

    inputs: np.ndarray
    recurrent: np.ndarray
    bias: np.ndarray

    @classmethod
    def from_onnx(cls, inputs: np.ndarray, recurrent: np.ndarray, bias: np.ndarray | None) -> Weights:
        """From the operator's tensors: (1, G * Z, I), (1, G * Z, Z) and (1, 2 * G * Z) or None."""
        one, two = np.zeros((2, inputs.shape[1])) if bias is None else bias[0].reshape(2, -1).astype(np.float64)
        return cls(inputs[0].astype(np.float64), recurrent[0].astype(np.float64), one + two)


@dataclass(frozen=True)
class LSTMTrace:
    """What an LSTM layer did at every step, (T, B, Z) each: gates in (0, 1), candidate in (-1, 1)."""

    input_gate: np.ndarray
    forget_gate: np.ndarray
    output_gate: np.ndarray
    candidate: np.ndarray
    cell_state: np.ndarray
    hidden_state: np.ndarray
    initial_cell: np.ndarray

    def state_contributions(self) -> np.ndarray:
        """(T + 1, B, Z) what of the last cell state was written at each step; the first row came from before them.

        The cell state is a sum, c_T = sum over t of (f_T * ... * f_{t+1}) * i_t * g_t, and these are its terms.
        """
        after = np.cumprod(self.forget_gate[::-1], axis=0)[::-1]  # (T, B, Z): f_T * ... * f_t
        kept = np.concatenate([after[1:], np.ones_like(after[:1])])
        return np.concatenate([after[:1] * self.initial_cell, kept * self.input_gate * self.candidate])


@dataclass(frozen=True)
class RNNTrace:
    """What a layer of the plain recurrent network did: it has no gate, and no state but its output (T, B, Z)."""

    hidden_state: np.ndarray


@dataclass(frozen=True)
class RecurrentLayer:
    """One recurrent layer of one member: `part` is encoder or decoder, `number` counts from the input on."""

    member: int
    subnetwork: str
    number: int
    trace: LSTMTrace | RNNTrace


def lstm(weights: Weights, inputs: np.ndarray, hidden: np.ndarray, cell: np.ndarray) -> LSTMTrace:
    """Run an LSTM layer over `inputs` (T, B, I) from the state `hidden`, `cell` (B, Z) each.

    i = sigmoid(W_i x + R_i h + b_i), o and f alike; g = tanh(W_c x + R_c h + b_c); c = f * c + i * g; h = o * tanh(c).
    """
    cell = initial_cell = cell.astype(np.float64)
    trace: list[list[np.ndarray]] = [[] for _ in range(6)]
    for step in inputs:
        summed = step @ weights.inputs.T + hidden @ weights.recurrent.T + weights.bias
        before_i, before_o, before_f, before_c = np.split(summed, 4, axis=1)
        input_gate, output_gate, forget_gate = _sigmoid(before_i), _sigmoid(before_o), _sigmoid(before_f)
        candidate = np.tanh(before_c)
        cell = forget_gate * cell + input_gate * candidate
        hidden = output_gate * np.tanh(cell)
        for kept, value in zip(trace, (input_gate, forget_gate, output_gate, candidate, cell, hidden), strict=True):
            kept.append(value)
    i, f, o, g, c, h = map(np.stack, trace)
    return LSTMTrace(i, f, o, g, c, h, initial_cell)


def rnn(weights: Weights, inputs: np.ndarray, hidden: np.ndarray) -> RNNTrace:
    """Run a plain recurrent layer over `inputs` (T, B, I) from the state `hidden` (B, Z): h = tanh(W x + R h + b)."""
    states = []
    for step in inputs:
        hidden = np.tanh(step @ weights.inputs.T + hidden @ weights.recurrent.T + weights.bias)
        states.append(hidden)
    return RNNTrace(np.stack(states))


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * values))
