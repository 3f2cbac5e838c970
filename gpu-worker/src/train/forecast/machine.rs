//! What this machine offers a training: its rate of arithmetic and its free memory.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    cuda::{Buffer, Device, Element, Gemm, Rows},
    engine::{EngineError, cuda},
    ops::{
        OpError,
        matmul::{Matrix, MatrixMut, Product, Term, multiply},
        rows::fill_uniform,
    },
};

/// Rows, inner width and columns of the product that is timed.
const PRODUCT: (usize, usize, usize) = (512, 576, 1536);
/// Width and height of the product that is timed on a GPU.
const DEVICE_PRODUCT: usize = 4096;
/// How long it is repeated.
const SAMPLE: Duration = Duration::from_millis(60);

/// Rate and memory of a machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// Floating point operations per second of a large product in f32.
    pub operations_per_second: f64,
    /// Memory that can still be had; `None` where the system does not tell.
    pub free_bytes: Option<u64>,
}

impl Machine {
    /// Times a product for some sixty milliseconds and asks the system for free memory, of which no more than `limit` is used.
    ///
    /// # Errors
    /// [`EngineError::Op`] when the product cannot be computed.
    pub fn measure(limit: Option<u64>) -> Result<Self, EngineError> {
        let free = available_bytes();
        let free_bytes = match (free, limit) {
            (Some(free), Some(limit)) => Some(free.min(limit)),
            (free, limit) => free.or(limit),
        };
        Ok(Self { operations_per_second: operations_per_second()?, free_bytes })
    }

    /// The same of a GPU, with products in bf16.
    ///
    /// # Errors
    /// [`EngineError::Device`].
    pub fn of_gpu(device: &Arc<dyn Device>) -> Result<Self, EngineError> {
        let free_bytes = Some(cuda::usable_bytes(device.memory()?.free));
        Ok(Self { operations_per_second: device_operations_per_second(device)?, free_bytes })
    }
}

/// The best of several products on a GPU.
#[expect(clippy::cast_precision_loss, reason = "below 2^53 operations")]
fn device_operations_per_second(device: &Arc<dyn Device>) -> Result<f64, EngineError> {
    let size = DEVICE_PRODUCT;
    let room = Buffer::new(device, 3 * size * size * Element::Bf16.bytes())?;
    let all = Rows::new(room.address(), size);
    // On zeros a GPU is faster than on anything else.
    fill_uniform(device.as_ref(), all, [3 * size, size], 1, 1.0)?;
    let matrix = |index: usize| all.rows_from(index * size).operand();
    let (m, n, k) = (size, size, size);
    let (factors, d, result) = ((matrix(0), matrix(1)), matrix(2), Element::Bf16);
    let gemm = Gemm { m, n, k, alpha: 1.0, a: factors.0, b: factors.1, c: None, d, result, bias: None };
    device.multiply(&gemm)?;
    device.finish()?;
    let (started, mut best) = (Instant::now(), f64::MAX);
    while started.elapsed() < SAMPLE {
        let begun = Instant::now();
        device.multiply(&gemm)?;
        device.finish()?;
        best = best.min(begun.elapsed().as_secs_f64());
    }
    Ok((2 * size * size * size) as f64 / best.max(f64::MIN_POSITIVE))
}

/// The best of several products: interruptions only ever slow one down.
#[expect(clippy::cast_precision_loss, reason = "a few million operations")]
fn operations_per_second() -> Result<f64, OpError> {
    let (rows, inner, columns) = PRODUCT;
    let (a, b) = (vec![0.5; rows * inner], vec![0.25; columns * inner]);
    let mut into = vec![0.0; rows * columns];
    let (started, mut best) = (Instant::now(), f64::MAX);
    while started.elapsed() < SAMPLE {
        let begun = Instant::now();
        let b = Matrix::new(&b, columns, inner)?.transposed();
        let terms = vec![Term { a: Matrix::new(&a, rows, inner)?, b, scale: 1.0 }];
        multiply(vec![Product {
            into: MatrixMut::new(&mut into, rows, columns)?,
            accumulate: false,
            terms,
        }])?;
        best = best.min(begun.elapsed().as_secs_f64());
    }
    Ok((2 * rows * inner * columns) as f64 / best.max(f64::MIN_POSITIVE))
}

/// Memory that this process can still get: the least of what the system and the process's control group have left.
fn available_bytes() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_meminfo(&text));
    let group = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| of_control_group(&text));
    match (system, group) {
        (Some(system), Some(group)) => Some(system.min(group)),
        (system, group) => system.or(group),
    }
}

fn of_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// What a group of version 2 and those above it have left; file pages that they can give up count as free.
fn of_control_group(groups: &str) -> Option<u64> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    root.join(group).ancestors().take_while(|folder| folder.starts_with(root)).filter_map(left_in).min()
}

fn left_in(folder: &Path) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let limit: u64 = read("memory.max")?.trim().parse().ok()?;
    let used: u64 = read("memory.current")?.trim().parse().ok()?;
    let statistics = read("memory.stat").unwrap_or_default();
    let reclaimable = statistics.lines().find_map(|line| line.strip_prefix("inactive_file "));
    let reclaimable = reclaimable.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or_default();
    Some(limit.saturating_sub(used.saturating_sub(reclaimable)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_free_memory_is_read_from_what_linux_tells() {
        let text = "MemTotal:       16384 kB\nMemFree:  100 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(of_meminfo(text), Some(2 << 20));
        assert_eq!(of_meminfo("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn a_machine_has_a_rate_and_no_more_memory_than_allowed() {
        let machine = Machine::measure(Some(1000)).unwrap();
        assert!(machine.operations_per_second > 1e8, "{machine:?}");
        assert_eq!(machine.free_bytes, Some(1000));
    }
}
