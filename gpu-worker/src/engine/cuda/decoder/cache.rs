//! Keys and values of a sequence in a device's memory.

use std::sync::Arc;

use crate::{
    cuda::{Buffer, Device, DeviceError, Element, Rows},
    engine::reference::heads,
    model::ModelConfig,
    ops::{attention::cuda::cached::CachedRow, rows::copy},
};

/// Tokens that a cache has room for at first.
const FIRST_CAPACITY: usize = 256;

/// Room for keys and values `[layers][2][capacity, key-value width]` in bf16.
#[derive(Debug, Default)]
pub(super) struct Cache {
    buffer: Option<Buffer>,
    capacity: usize,
}

impl Cache {
    /// Makes room for `needed` tokens, in all; keeps what is there of the first `held`.
    pub(super) fn reserve(
        &mut self,
        device: &Arc<dyn Device>,
        config: &ModelConfig,
        held: usize,
        needed: usize,
    ) -> Result<(), DeviceError> {
        if needed <= self.capacity {
            return Ok(());
        }
        let capacity = needed.next_power_of_two().max(FIRST_CAPACITY).min(config.max_positions).max(needed);
        let (parts, width) = (2 * config.layers, heads(config, 0).key_value_width());
        let buffer = Buffer::new(device, parts * capacity * width * Element::Bf16.bytes())?;
        if let Some(old) = self.buffer.as_ref().filter(|_| held > 0) {
            let (to, from) = (
                Rows::new(buffer.address(), capacity * width),
                Rows::new(old.address(), self.capacity * width),
            );
            copy(device.as_ref(), to, from, [parts, held * width])?;
        }
        *self = Self { buffer: Some(buffer), capacity };
        Ok(())
    }

    /// Where the token at a position has its keys and values.
    pub(super) fn row(&self, position: usize) -> Option<CachedRow> {
        let cache = self.buffer.as_ref()?.address();
        Some(CachedRow { cache, capacity: self.capacity, position })
    }
}
