//! An adapter in training in a device's memory.

use std::sync::Arc;

use super::{
    bytes::{WORD, floats},
    frozen::Frozen,
    layout::Layout,
    magnitudes::Magnitudes,
};
use crate::{
    cuda::{Address, Buffer, Device, DeviceError},
    engine::EngineError,
    optim::cuda::{DeviceParameters, partials},
};

/// An adapter in training; all in the order of the layout.
#[derive(Debug)]
pub(super) struct Training {
    _buffer: Buffer,
    pub(super) parameters: DeviceParameters,
    pub(super) partial_sums: Address,
    pub(super) sum: Address,
    pub(super) steps: u64,
    /// Passes since the last step.
    pub(super) passes: u64,
    /// What outputs are multiplied by, where the method has magnitudes.
    pub(super) magnitudes: Option<Magnitudes>,
    /// Where some directions stay as they began.
    pub(super) frozen: Option<Frozen>,
}

impl Training {
    /// Bytes that an adapter in training takes, but for what is in the margins of the weights.
    pub(super) fn bytes(layout: &Layout) -> usize {
        4 * WORD * layout.length + Magnitudes::bytes(layout) + Frozen::bytes(layout)
    }

    pub(super) fn new(device: &Arc<dyn Device>, layout: &Layout) -> Result<Self, EngineError> {
        let count = layout.length;
        let part = (count * WORD).next_multiple_of(256);
        let sums = (partials(count) * size_of::<f64>()).next_multiple_of(256);
        let classes = layout.classes();
        let buffer = Buffer::new(device, 4 * part + sums + 256 + classes.len())?;
        device.zero(buffer.address(), buffer.bytes())?;
        let start = buffer.address();
        let partial_sums = start.at(4 * part);
        let parameters = DeviceParameters {
            values: start,
            gradients: start.at(part),
            first_moments: start.at(2 * part),
            second_moments: start.at(3 * part),
            classes: partial_sums.at(sums + 256),
            count,
        };
        device.write(parameters.classes, &classes)?;
        let sum = partial_sums.at(sums);
        Ok(Self {
            _buffer: buffer,
            parameters,
            partial_sums,
            sum,
            steps: 0,
            passes: 0,
            magnitudes: None,
            frozen: None,
        })
    }

    pub(super) fn read(&self, device: &dyn Device, from: Address) -> Result<Vec<f32>, DeviceError> {
        let mut bytes = vec![0; self.parameters.count * WORD];
        device.read(from, &mut bytes)?;
        Ok(floats(&bytes).collect())
    }
}
