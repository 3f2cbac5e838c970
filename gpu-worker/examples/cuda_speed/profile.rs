//! A device that waits after every launch and sums up the time by kernel and by shape of product.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use clara_gpu_worker::cuda::{Address, Device, DeviceError, DeviceMemory, Gemm, GraphId, Launch};
use parking_lot::Mutex;

/// Times everything that another device does.
#[derive(Debug)]
pub(crate) struct Profiler {
    device: Arc<dyn Device>,
    times: Mutex<BTreeMap<String, (u32, f64)>>,
}

impl Profiler {
    pub(crate) fn new(device: &Arc<dyn Device>) -> Self {
        Self { device: Arc::clone(device), times: Mutex::default() }
    }

    /// Forgets the times so far.
    pub(crate) fn reset(&self) {
        self.times.lock().clear();
    }

    /// What was done, how often, and the milliseconds in all; what took longest first.
    pub(crate) fn times(&self) -> Vec<(String, u32, f64)> {
        let times = self.times.lock();
        let mut times: Vec<_> =
            times.iter().map(|(name, (count, seconds))| (name.clone(), *count, seconds * 1e3)).collect();
        times.sort_by(|(.., a), (.., b)| b.total_cmp(a));
        times
    }

    fn timed(&self, name: String, work: impl FnOnce() -> Result<(), DeviceError>) -> Result<(), DeviceError> {
        self.device.finish()?;
        let started = Instant::now();
        work()?;
        self.device.finish()?;
        let mut times = self.times.lock();
        let (count, seconds) = times.entry(name).or_default();
        *count += 1;
        *seconds += started.elapsed().as_secs_f64();
        Ok(())
    }
}

impl Device for Profiler {
    fn name(&self) -> String {
        self.device.name()
    }

    fn memory(&self) -> Result<DeviceMemory, DeviceError> {
        self.device.memory()
    }

    fn allocate(&self, bytes: usize) -> Result<Address, DeviceError> {
        self.device.allocate(bytes)
    }

    fn release(&self, address: Address) {
        self.device.release(address);
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), DeviceError> {
        self.device.write(to, bytes)
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.device.read(from, bytes)
    }

    fn zero(&self, at: Address, bytes: usize) -> Result<(), DeviceError> {
        self.timed("zero".to_owned(), || self.device.zero(at, bytes))
    }

    fn has_kernel(&self, kernel: &'static str) -> Result<bool, DeviceError> {
        self.device.has_kernel(kernel)
    }

    fn launch(&self, launch: Launch<'_>) -> Result<(), DeviceError> {
        self.timed(launch.kernel.to_owned(), || self.device.launch(launch))
    }

    fn multiply(&self, gemm: &Gemm) -> Result<(), DeviceError> {
        let Gemm { m, n, k, result, .. } = gemm;
        let transposed = if gemm.a.transposed { "t" } else { "n" };
        let name = format!("product {m}x{n}x{k} {transposed} {result:?}");
        self.timed(name, || self.device.multiply(gemm))
    }

    fn record(&self, _: &mut dyn FnMut() -> Result<(), DeviceError>) -> Result<Option<GraphId>, DeviceError> {
        Ok(None)
    }

    fn replay(&self, graph: GraphId) -> Result<(), DeviceError> {
        self.device.replay(graph)
    }

    fn discard(&self, graph: GraphId) {
        self.device.discard(graph);
    }

    fn finish(&self) -> Result<(), DeviceError> {
        self.device.finish()
    }
}
