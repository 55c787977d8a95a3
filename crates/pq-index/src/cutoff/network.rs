//! A network of one hidden layer, small enough to be written out.

use scant_tensor_core::rng::Rng;

/// Width of the hidden layer.
pub(super) const HIDDEN: usize = 64;

/// `output = V relu(W z + w) + v`; one row of weights for each unit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Network {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// `W` `[HIDDEN, inputs]`, `w` `[HIDDEN]`, `V` `[outputs, HIDDEN]`, `v` `[outputs]`, one after the other: what an optimizer wants.
    pub(super) weights: Vec<f32>,
}

/// Sizes of the parts of the weights.
pub(super) fn parts(inputs: usize, outputs: usize) -> [usize; 4] {
    [HIDDEN * inputs, HIDDEN, outputs * HIDDEN, outputs]
}

/// The weights, cut into their parts.
fn cut(weights: &[f32], inputs: usize) -> [&[f32]; 4] {
    let (w, rest) = weights.split_at(HIDDEN * inputs);
    let (w_bias, rest) = rest.split_at(HIDDEN);
    let (v, v_bias) = rest.split_at(rest.len() / (HIDDEN + 1) * HIDDEN);
    [w, w_bias, v, v_bias]
}

impl Network {
    /// Random hidden units (He et al. 2015) and a last layer that ignores them: the output is `outputs`, whatever comes in.
    pub(super) fn constant(inputs: usize, outputs: &[f32], seed: u64) -> Network {
        let (mut rng, scale) = (Rng::new(seed), (2.0 / inputs.max(1) as f32).sqrt());
        let mut weights: Vec<f32> = (0..HIDDEN * inputs).map(|_| scale * rng.normal()).collect();
        weights.extend([0.0; HIDDEN]);
        weights.resize(weights.len() + outputs.len() * HIDDEN, 0.0);
        weights.extend_from_slice(outputs);
        Network { inputs, outputs: outputs.len(), weights }
    }

    /// The parts of the weights, in their order.
    pub(super) fn parts(&self) -> [&[f32]; 4] {
        cut(&self.weights, self.inputs)
    }

    /// Hidden units and outputs.
    pub(super) fn forward(&self, z: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let [w, w_bias, v, v_bias] = self.parts();
        let hidden: Vec<f32> = w.chunks_exact(self.inputs).zip(w_bias).map(|(w, bias)| (dot(w, z) + bias).max(0.0)).collect();
        let output = v.chunks_exact(HIDDEN).zip(v_bias).map(|(v, bias)| dot(v, &hidden) + bias).collect();
        (hidden, output)
    }

    /// Adds the gradient of the weights, given that of the outputs.
    pub(super) fn backward(&self, z: &[f32], hidden: &[f32], of_output: &[f32], gradient: &mut [f32]) {
        let [_, _, v, _] = self.parts();
        let [w_len, w_bias, v_len, _] = parts(self.inputs, self.outputs);
        let (to_hidden, to_output) = gradient.split_at_mut(w_len + w_bias);
        let mut of_hidden = [0.0; HIDDEN];
        for (o, g) in of_output.iter().enumerate() {
            axpy(*g, &v[o * HIDDEN..][..HIDDEN], &mut of_hidden);
            axpy(*g, hidden, &mut to_output[o * HIDDEN..][..HIDDEN]);
            to_output[v_len + o] += g;
        }
        for (h, g) in of_hidden.into_iter().enumerate() {
            if hidden[h] > 0.0 {
                axpy(g, z, &mut to_hidden[h * self.inputs..][..self.inputs]);
                to_hidden[w_len + h] += g;
            }
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Eight sums, so that the loop becomes vector code.
    let ((a8, a_tail), (b8, b_tail)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a8.iter().zip(b8) {
        (0..8).for_each(|i| sums[i] += a[i] * b[i]);
    }
    sums.iter().sum::<f32>() + a_tail.iter().zip(b_tail).map(|(a, b)| a * b).sum::<f32>()
}

fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}

/// Adam (Kingma and Ba 2015).
pub(super) struct Adam {
    rate: f32,
    step: i32,
    mean: Vec<f32>,
    square: Vec<f32>,
}

impl Adam {
    pub(super) fn new(rate: f32, weights: usize) -> Adam {
        Adam { rate, step: 0, mean: vec![0.0; weights], square: vec![0.0; weights] }
    }

    pub(super) fn step(&mut self, weights: &mut [f32], gradient: &[f32]) {
        self.step += 1;
        let (c1, c2) = (1.0 - 0.9f32.powi(self.step), 1.0 - 0.999f32.powi(self.step));
        let moments = self.mean.iter_mut().zip(&mut self.square);
        for ((w, g), (mean, square)) in weights.iter_mut().zip(gradient).zip(moments) {
            *mean = 0.9 * *mean + 0.1 * g;
            *square = 0.999 * *square + 0.001 * g * g;
            *w -= self.rate * (*mean / c1) / ((*square / c2).sqrt() + 1e-8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let mut rng = Rng::new(1);
        let mut network = Network::constant(5, &[0.5, -1.0], 2);
        network.weights.iter_mut().for_each(|w| *w += 0.3 * rng.normal());
        let z: Vec<f32> = (0..5).map(|_| rng.normal()).collect();
        let of_output = [0.7, -0.4];
        let loss = |n: &Network| n.forward(&z).1.iter().zip(of_output).map(|(o, g)| o * g).sum::<f32>();
        let mut gradient = vec![0.0; network.weights.len()];
        network.backward(&z, &network.forward(&z).0, &of_output, &mut gradient);
        for i in (0..gradient.len()).step_by(7).chain(gradient.len() - 2..gradient.len()) {
            let at = |d: f32| {
                let mut moved = network.clone();
                moved.weights[i] += d;
                loss(&moved)
            };
            let numeric = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!((numeric - gradient[i]).abs() < 2e-2 * (1.0 + numeric.abs()), "{i}: {numeric} {}", gradient[i]);
        }
    }
}
