//! Launches the kernels of `dropout.cu`.

use crate::{
    cuda::{Address, Device, DeviceError, Rows, arguments, launch_strided},
    ops::lora_linear::Dropout,
};

/// A stream of a dropout whose key lies in a device's memory.
#[derive(Debug, Clone, Copy)]
pub struct DeviceDropout {
    key: Address,
    stream: usize,
    threshold: usize,
    scale: f32,
}

impl DeviceDropout {
    /// Bytes of a key.
    pub const KEY_BYTES: usize = size_of::<u64>();

    /// Puts the key of a dropout where its streams will find it.
    ///
    /// # Errors
    /// [`DeviceError`] of the device.
    pub fn write_key(device: &dyn Device, to: Address, dropout: Dropout) -> Result<(), DeviceError> {
        device.write(to, &dropout.key.to_le_bytes())
    }

    /// What [`Dropout::stream`] gives of the dropout whose key lies at `key`, of which only the share counts here.
    pub fn new(dropout: Dropout, key: Address, stream: usize) -> Self {
        Self { key, stream, threshold: usize::from(dropout.threshold), scale: dropout.scale }
    }

    /// As [`Dropout::apply`], in bf16; the width is a multiple of 8.
    ///
    /// # Errors
    /// [`DeviceError`] of the device.
    pub fn apply(
        &self,
        device: &dyn Device,
        x: Rows,
        into: Rows,
        shape: [usize; 2],
    ) -> Result<(), DeviceError> {
        self.launch(device, "drop_rows", [into, x], shape)
    }

    /// As [`Dropout::add_backward`], in bf16; the width is a multiple of 8.
    ///
    /// # Errors
    /// [`DeviceError`] of the device.
    pub fn add_backward(
        &self,
        device: &dyn Device,
        d: Rows,
        into: Rows,
        shape: [usize; 2],
    ) -> Result<(), DeviceError> {
        self.launch(device, "add_dropped_rows", [into, d], shape)
    }

    fn launch(
        &self,
        device: &dyn Device,
        kernel: &'static str,
        [into, from]: [Rows; 2],
        [rows, width]: [usize; 2],
    ) -> Result<(), DeviceError> {
        let Self { key, stream, threshold, scale } = *self;
        let arguments = arguments![
            into.address,
            into.stride,
            from.address,
            from.stride,
            key,
            stream,
            threshold,
            scale,
            rows,
            width
        ];
        launch_strided(device, kernel, rows * width, arguments)
    }
}

#[cfg(test)]
mod tests;
