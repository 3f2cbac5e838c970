//! Directions of an adapter that stay as they began (`PiSSA`), in a device's memory.

use std::sync::Arc;

use super::{
    bytes::{WORD, float_bytes},
    layout::Layout,
};
use crate::{
    cuda::{Address, Buffer, Device, DeviceError},
    optim::cuda::{HeldPart, hold_parts},
};

/// The frozen parts of an adapter's values.
#[derive(Debug)]
pub(super) struct Frozen {
    /// Where they are, then what they hold.
    buffer: Buffer,
    parts: usize,
}

impl Frozen {
    /// Bytes that they take.
    pub(super) fn bytes(layout: &Layout) -> usize {
        let values: usize = layout.frozen.iter().map(|part| part.rows * part.columns).sum();
        layout.frozen.len() * HeldPart::BYTES + values * WORD
    }

    /// Those of an adapter's values, where it has any.
    pub(super) fn new(
        device: &Arc<dyn Device>,
        layout: &Layout,
        values: &[f32],
    ) -> Result<Option<Self>, DeviceError> {
        if layout.frozen.is_empty() {
            return Ok(None);
        }
        let (mut table, mut kept) = (Vec::new(), Vec::new());
        for part in &layout.frozen {
            table.extend(part.bytes(kept.len()));
            kept.extend(part.of(values));
        }
        table.extend(float_bytes(&kept));
        let buffer = Buffer::new(device, table.len())?;
        device.write(buffer.address(), &table)?;
        Ok(Some(Self { buffer, parts: layout.frozen.len() }))
    }

    /// Sets their gradients to zero.
    pub(super) fn clear(&self, device: &dyn Device, gradients: Address) -> Result<(), DeviceError> {
        hold_parts(device, gradients, None, self.buffer.address(), self.parts)
    }

    /// Sets them to what they were: without a gradient only the decay has moved them.
    pub(super) fn restore(&self, device: &dyn Device, values: Address) -> Result<(), DeviceError> {
        let parts = self.buffer.address();
        hold_parts(device, values, Some(parts.at(self.parts * HeldPart::BYTES)), parts, self.parts)
    }
}
