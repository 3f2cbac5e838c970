//! What a process computes on: the CPU, or a GPU where there is one.

use std::{fmt, sync::Arc, thread, time::Duration};

use clara_runtime::{
    config::ComputeDevice,
    metrics::{self, GpuReading},
};

use crate::{
    cuda::{CudaDevice, CudaOptions, Device, DeviceError, availability::availability, telemetry::Telemetry},
    engine::{
        Decoder, Engine, EngineError,
        cuda::{self, CudaDecoder, CudaEngine},
        reference::{ReferenceDecoder, ReferenceEngine},
    },
    model::{BaseModel, ModelConfig},
    train::Machine,
};

/// How often the GPU is asked how it is.
const READ_EVERY: Duration = Duration::from_secs(5);

/// The devices of a process. The default is the CPU alone.
#[derive(Debug, Clone, Default)]
pub struct Devices {
    gpu: Option<Arc<dyn Device>>,
    /// Whether what the GPU cannot do is refused.
    only_gpu: bool,
}

impl Devices {
    /// Opens the GPU, if it is asked for, or there and not refused.
    ///
    /// # Errors
    /// [`DeviceError`] when a GPU is asked for and cannot be used, or is there and does not work.
    pub fn open(which: ComputeDevice) -> Result<Self, DeviceError> {
        let only_gpu = which == ComputeDevice::Cuda;
        if which == ComputeDevice::Cpu {
            return Ok(Self::default());
        }
        let options = CudaOptions::from_environment();
        match CudaDevice::new(0, &options) {
            Ok(device) => {
                tracing::info!("computing on {}", device.name());
                watch(&options, &device);
                Ok(Self { gpu: Some(Arc::new(device)), only_gpu })
            }
            Err(DeviceError::Unavailable { reason }) if !only_gpu => {
                if availability(&options.libraries).has_gpu() {
                    tracing::warn!("computing on the CPU, though there is a GPU: {reason}");
                }
                Ok(Self::default())
            }
            Err(error) => Err(error),
        }
    }

    /// Why nothing more can be computed here: the GPU was lost. `None` where there is none.
    pub fn lost(&self) -> Option<DeviceError> {
        self.gpu.as_ref().and_then(|gpu| gpu.lost())
    }

    /// Where work on such a model runs: on the GPU if there is one that can, else on the CPU.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] when it must be the GPU, which cannot.
    pub fn place(&self, model: &ModelConfig) -> Result<Place, EngineError> {
        let Some(gpu) = &self.gpu else { return Ok(Place::Cpu) };
        match cuda::check(model) {
            Ok(()) => Ok(Place::Gpu(Arc::clone(gpu))),
            Err(error) if self.only_gpu => Err(error),
            Err(error) => {
                metrics::engine_fell_back();
                tracing::warn!("computing on the CPU: {error}");
                Ok(Place::Cpu)
            }
        }
    }

    /// A decoder over a base model, placed as a training is.
    ///
    /// # Errors
    /// [`EngineError`] of the decoder.
    pub fn decoder(&self, base: &Arc<BaseModel>) -> Result<Box<dyn Decoder>, EngineError> {
        let base = Arc::clone(base);
        Ok(match self.place(&base.config)? {
            Place::Cpu => Box::new(ReferenceDecoder::new(base)?),
            Place::Gpu(device) => Box::new(CudaDecoder::new(device, base)?),
        })
    }
}

/// Shows how the GPU is in the metrics, to the end of the process.
fn watch(options: &CudaOptions, device: &CudaDevice) {
    let Some(telemetry) = Telemetry::open(&options.libraries, device.bus_id()) else {
        tracing::warn!("NVML is missing: the metrics of the GPU show nothing");
        return;
    };
    let show = move || {
        loop {
            let reading = telemetry.read();
            metrics::gpu_read(GpuReading {
                utilization: reading.utilisation,
                memory_used: reading.memory_used_bytes,
                memory_total: reading.memory_total_bytes,
                temperature: reading.temperature_celsius,
                power: reading.power_watts,
                uncorrected_errors: reading.uncorrected_errors,
            });
            thread::sleep(READ_EVERY);
        }
    };
    if let Err(error) = thread::Builder::new().name("clara-gpu".into()).spawn(show) {
        tracing::warn!("the metrics of the GPU show nothing: {error}");
    }
}

/// Where a training or a decoder runs.
#[derive(Debug, Clone)]
pub enum Place {
    /// On the CPU.
    Cpu,
    /// On a GPU.
    Gpu(Arc<dyn Device>),
}

impl Place {
    /// Its rate and free memory; of the CPU's memory no more than `limit` is used.
    ///
    /// # Errors
    /// As [`Machine::measure`] and [`Machine::of_gpu`].
    pub fn machine(&self, limit: Option<u64>) -> Result<Machine, EngineError> {
        match self {
            Self::Cpu => Machine::measure(limit),
            Self::Gpu(device) => Machine::of_gpu(device),
        }
    }

    /// An engine for a base model; `recompute` as a forecast says.
    ///
    /// # Errors
    /// [`EngineError`] of the engine.
    pub fn engine(&self, base: &Arc<BaseModel>, recompute: bool) -> Result<Box<dyn Engine>, EngineError> {
        let base = Arc::clone(base);
        Ok(match self {
            Self::Cpu if recompute => Box::new(ReferenceEngine::new(base)?.recomputing()),
            Self::Cpu => Box::new(ReferenceEngine::new(base)?),
            // It plans its memory itself.
            Self::Gpu(device) => Box::new(CudaEngine::new(Arc::clone(device), base)?),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => formatter.write_str("the CPU"),
            Self::Gpu(device) => formatter.write_str(&device.name()),
        }
    }
}
