//! Operands in a device's memory, and time.

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;
use clara_gpu_worker::{
    cuda::{Address, Buffer, Device, DeviceError, Element, Rows},
    ops::rows::fill_uniform,
};

/// Room for matrices, filled with random values.
pub(crate) struct Room<'a> {
    pub(crate) device: &'a Arc<dyn Device>,
    pub(crate) buffers: Vec<Buffer>,
}

impl Room<'_> {
    pub(crate) fn matrix(&mut self, rows: usize, width: usize) -> anyhow::Result<Rows> {
        let buffer = Buffer::new(self.device, rows * width * Element::Bf16.bytes())?;
        let matrix = Rows::new(buffer.address(), width);
        self.buffers.push(buffer);
        let seed = u32::try_from(self.buffers.len())?;
        fill_uniform(self.device.as_ref(), matrix, [rows, width], seed, 0.5)?;
        Ok(matrix)
    }

    pub(crate) fn floats(&mut self, count: usize) -> anyhow::Result<Address> {
        let buffer = Buffer::new(self.device, count * Element::F32.bytes())?;
        self.device.zero(buffer.address(), buffer.bytes())?;
        let address = buffer.address();
        self.buffers.push(buffer);
        Ok(address)
    }
}

/// Milliseconds of one run among many, after some that do not count; the best of three series.
pub(crate) fn milliseconds(
    device: &dyn Device,
    repeats: usize,
    mut work: impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    for round in 0..3 {
        work(round)?;
    }
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        device.finish()?;
        let started = Instant::now();
        for round in 0..repeats {
            work(round)?;
        }
        device.finish()?;
        best = best.min(started.elapsed().as_secs_f64() * 1e3 / repeats as f64);
    }
    Ok(best)
}

/// Milliseconds of one run of each work among `repeats`, which are recorded once; the works take turns, so that all of them find the
/// card equally warm. Medians over the turns.
pub(crate) fn by_turns<const WORKS: usize>(
    device: &dyn Device,
    repeats: usize,
    mut works: [Box<Work<'_>>; WORKS],
) -> anyhow::Result<[f64; WORKS]> {
    const TURNS: usize = 9;
    let mut recorded = Vec::with_capacity(WORKS);
    for work in &mut works {
        // The first rounds find the algorithms of products.
        for round in 0..4 {
            work(round)?;
        }
        let graph = device.record(&mut || (0..repeats).try_for_each(&mut *work))?;
        recorded.push(graph.context("this device records nothing")?);
    }
    let mut times = [const { Vec::new() }; WORKS];
    for _ in 0..=TURNS {
        for (graph, times) in recorded.iter().zip(&mut times) {
            device.finish()?;
            let started = Instant::now();
            device.replay(*graph)?;
            device.finish()?;
            times.push(started.elapsed().as_secs_f64() * 1e3 / repeats as f64);
        }
    }
    for graph in recorded {
        device.discard(graph);
    }
    Ok(times.map(|mut times| {
        // The first replay uploads the recording.
        times.remove(0);
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }))
}

/// Launches of one round.
pub(crate) type Work<'a> = dyn FnMut(usize) -> Result<(), DeviceError> + 'a;

/// As the engine aligns rows.
pub(crate) fn aligned(width: usize) -> usize {
    width.next_multiple_of(64)
}
