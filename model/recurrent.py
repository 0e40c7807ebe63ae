"""Recurrent cells in NumPy, gate by gate, with the weights as an ONNX file stores them.

docs/lstm.md derives the equations. ONNX Runtime and torch compute the same without showing the gates. The LSTM is that
of Hochreiter and Schmidhuber (1997), with the forget gate of Gers, Schmidhuber and Cummins (2000).

Shapes: T steps of the recurrence, B windows, I inputs, Z hidden size, G gates (4 for LSTM, 1 for RNN).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Weights:
    """Weights of one layer, as in the ONNX operators LSTM and RNN.

    Attributes:
        inputs: `W` of ONNX, shape (G * Z, I). The gates of an LSTM are in the order i, o, f, c (torch: i, f, g, o).
        recurrent: `R` of ONNX, shape (G * Z, Z).
        bias: Sum of ONNX's two biases, shape (G * Z,).
    """

    inputs: Array
    recurrent: Array
    bias: Array

    @classmethod
    def from_onnx(
        cls, inputs: NDArray[np.float32], recurrent: NDArray[np.float32], bias: NDArray[np.float32] | None
    ) -> Weights:
        """Return the weights of an operator.

        Args:
            inputs: Shape (1, G * Z, I).
            recurrent: Shape (1, G * Z, Z).
            bias: Both biases, shape (1, 2 * G * Z), or None.
        """
        first, second = np.zeros((2, inputs.shape[1])) if bias is None else bias[0].reshape(2, -1).astype(np.float64)
        return cls(inputs[0].astype(np.float64), recurrent[0].astype(np.float64), first + second)


@dataclass(frozen=True)
class LSTMTrace:
    """Values inside an LSTM layer at every step, each of shape (T, B, Z).

    Attributes:
        input_gate: In (0, 1).
        forget_gate: In (0, 1).
        output_gate: In (0, 1).
        candidate: In (-1, 1).
        cell_state: Cell state after each step.
        hidden_state: Output of each step.
        initial_cell: Cell state before the first step, shape (B, Z).
    """

    input_gate: Array
    forget_gate: Array
    output_gate: Array
    candidate: Array
    cell_state: Array
    hidden_state: Array
    initial_cell: Array

    def state_contributions(self) -> Array:
        """Return the terms of the last cell state, shape (T + 1, B, Z): the initial cell's, then those of each step.

        The last cell state is the sum c_T = sum over t of (f_T * ... * f_{t+1}) * i_t * g_t, with the initial cell as
        the term before the first step.
        """
        product = np.cumprod(self.forget_gate[::-1], axis=0)[::-1]  # (T, B, Z): f_T * ... * f_t
        after = np.concatenate([product[1:], np.ones_like(product[:1])])
        return np.concatenate([product[:1] * self.initial_cell, after * self.input_gate * self.candidate])


@dataclass(frozen=True)
class RNNTrace:
    """Outputs of a plain recurrent layer, shape (T, B, Z). It has no gates and no other state."""

    hidden_state: Array


@dataclass(frozen=True)
class RecurrentLayer:
    """One recurrent layer of one ensemble member.

    Attributes:
        member: Number of the member, from 0.
        subnetwork: "encoder" or "decoder".
        number: Number of the layer, counted from the input.
        trace: Values inside the layer.
    """

    member: int
    subnetwork: str
    number: int
    trace: LSTMTrace | RNNTrace


def lstm(weights: Weights, inputs: Array, hidden: Array, cell: Array) -> LSTMTrace:
    """Run an LSTM layer.

    i = sigmoid(W_i x + R_i h + b_i), o and f alike; g = tanh(W_c x + R_c h + b_c); c = f * c + i * g; h = o * tanh(c).

    Args:
        weights: Weights of the layer.
        inputs: Shape (T, B, I).
        hidden: Initial output, shape (B, Z).
        cell: Initial cell state, shape (B, Z).
    """
    cell = initial_cell = cell.astype(np.float64)
    trace: list[list[Array]] = [[] for _ in range(6)]
    for step in inputs:
        summed = step @ weights.inputs.T + hidden @ weights.recurrent.T + weights.bias
        before_i, before_o, before_f, before_c = np.split(summed, 4, axis=1)
        input_gate, output_gate, forget_gate = _sigmoid(before_i), _sigmoid(before_o), _sigmoid(before_f)
        candidate = np.tanh(before_c)
        cell = forget_gate * cell + input_gate * candidate
        hidden = output_gate * np.tanh(cell)
        for values, value in zip(trace, (input_gate, forget_gate, output_gate, candidate, cell, hidden), strict=True):
            values.append(value)
    i, f, o, g, c, h = map(np.stack, trace)
    return LSTMTrace(i, f, o, g, c, h, initial_cell)


def rnn(weights: Weights, inputs: Array, hidden: Array) -> RNNTrace:
    """Run a plain recurrent layer: h = tanh(W x + R h + b).

    Args:
        weights: Weights of the layer.
        inputs: Shape (T, B, I).
        hidden: Initial output, shape (B, Z).
    """
    states = []
    for step in inputs:
        hidden = np.tanh(step @ weights.inputs.T + hidden @ weights.recurrent.T + weights.bias)
        states.append(hidden)
    return RNNTrace(np.stack(states))


def _sigmoid(values: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * values))
