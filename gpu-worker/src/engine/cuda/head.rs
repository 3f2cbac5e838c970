//! The last normalisation, the output head and the loss, as launches on a device, a chunk of rows at a time.

use super::{
    activations::{Activations, HEAD_UNIT},
    block::{Output, Pass},
    bytes::WORD,
};
use crate::{
    cuda::Element,
    engine::EngineError,
    ops::{
        head_loss::cuda::cross_entropy,
        rms_norm::cuda::{Norm, NormBackward},
    },
};

impl Pass<'_> {
    /// Writes the loss of each of `labelled` rows; with a scale also the gradient of the sum of losses times that scale, for the
    /// residual stream, all of which is overwritten.
    pub(super) fn head(&self, labelled: usize, gradient_scale: Option<f32>) -> Result<(), EngineError> {
        let Self { device, config, weights, activations, rows, .. } = *self;
        let Activations { inputs, head_input, d_head_input, logits, head_rows, losses, d_residual, .. } =
            activations;
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let stream = activations.residual_before(config.layers)?;
        let norm = Norm { weight: weights.norm, width: hidden, eps: config.rms_norm_eps };
        norm.forward(device, *head_input, stream, Some(inputs.labelled), labelled)?;
        for first in (0..labelled).step_by(*head_rows) {
            let count = (*head_rows).min(labelled - first);
            // Products of few different shapes: what is computed of other rows is not read.
            let padded = count.next_multiple_of(HEAD_UNIT).min(*head_rows);
            let x = head_input.rows_from(first);
            let factors = [x.operand(), weights.head.transposed()];
            self.multiply([padded, vocab, hidden], factors, &Output::to(*logits))?;
            let (labels, losses) = (inputs.labels.at(first * WORD), losses.at(first * WORD));
            cross_entropy(device, *logits, labels, losses, [count, vocab], gradient_scale)?;
            if gradient_scale.is_some() {
                let dx = d_head_input.rows_from(first);
                let factors = [logits.operand(), weights.head.operand()];
                self.multiply([padded, hidden, vocab], factors, &Output::to(dx))?;
            }
        }
        if gradient_scale.is_some() {
            device.zero(d_residual.address, rows * d_residual.stride * Element::Bf16.bytes())?;
            let index = Some(inputs.labelled);
            let operands =
                NormBackward { dx: *d_residual, x: stream, dy: *d_head_input, index, accumulate: false };
            norm.backward(device, operands, labelled)?;
        }
        Ok(())
    }
}
