//! A GPU: its memory, its kernels, its matrix products, and their recordings.

mod calls;
mod products;
mod staging;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, hash_map::Entry},
    path::PathBuf,
    sync::OnceLock,
};

use parking_lot::ReentrantMutex;

use self::{
    calls::{Context, DeviceInfo, Function, Graph, Module, Stream, failed},
    products::Products,
    staging::Staging,
};
use super::{
    Address, Argument, Device, DeviceError, DeviceMemory, Gemm, GraphId, Launch,
    compiler::{Compiler, default_cache},
    kernels::SOURCES,
    libraries::{CudaLibrary, Libraries},
};

pub use products::ProductUse;

/// The first that tells the parameters of a kernel.
const OLDEST_DRIVER: (i32, i32) = (12, 4);

/// How a GPU is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaOptions {
    /// Where CUDA's libraries are.
    pub libraries: Libraries,
    /// Folder where compiled kernels and choices of algorithms are kept; without one they are compiled and chosen at every start.
    pub kernel_cache: Option<PathBuf>,
    /// Whether every product's algorithms are timed at its first use; what was chosen is kept beside the kernels, for the next process
    /// to give the same sums. Without this the library's first choice is taken.
    pub autotune: bool,
}

impl CudaOptions {
    /// Libraries and cache where this machine's environment has them, with tuning.
    pub fn from_environment() -> Self {
        Self { libraries: Libraries::from_environment(), kernel_cache: default_cache(), autotune: true }
    }
}

/// One GPU. Work of all threads goes into one order.
#[derive(Debug)]
pub struct CudaDevice {
    info: DeviceInfo,
    lost: OnceLock<DeviceError>,
    /// A thread that records keeps the others out.
    state: ReentrantMutex<RefCell<State>>,
}

/// Fields are dropped in this order: what lives in the context before the context.
#[derive(Debug)]
struct State {
    graphs: BTreeMap<GraphId, Graph>,
    graphs_so_far: u64,
    recording: bool,
    staging: Staging,
    products: Products,
    /// By name, also of those that no module has.
    functions: HashMap<&'static str, Option<Function>>,
    modules: Vec<Module>,
    stream: Stream,
    context: Context,
}

impl CudaDevice {
    /// Opens a GPU, counted from 0 in the driver's order, and loads all kernels.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] when a library is missing or there is no such GPU, [`DeviceError::Kernel`] when kernels do
    /// not compile or load, and those of the first calls.
    pub fn new(ordinal: u32, options: &CudaOptions) -> Result<Self, DeviceError> {
        for library in [CudaLibrary::Driver, CudaLibrary::Products] {
            options.libraries.open(library)?;
        }
        let driver = calls::driver_version()?;
        if driver < OLDEST_DRIVER {
            let ((major, minor), (wanted_major, wanted_minor)) = (driver, OLDEST_DRIVER);
            let reason = format!(
                "its driver knows CUDA {major}.{minor}, expected {wanted_major}.{wanted_minor} or newer; update the driver"
            );
            return Err(DeviceError::Unavailable { reason });
        }
        let info = calls::device_info(ordinal)?;
        let compiler = Compiler::new(&options.libraries, info.architecture, options.kernel_cache.clone())?;
        let (major, minor) = compiler.version();
        if major > driver.0 {
            let reason = format!(
                "NVRTC {major}.{minor} compiles for newer drivers than this one, which knows CUDA {}.{}; update the driver, or \
                 install NVRTC {}",
                driver.0, driver.1, driver.0
            );
            return Err(DeviceError::Unavailable { reason });
        }
        let cubins = compiler.compile_all(SOURCES)?;
        let context = Context::new(ordinal)?;
        let stream = Stream::new()?;
        let mut modules = Vec::with_capacity(SOURCES.len());
        for (source, cubin) in SOURCES.iter().zip(cubins) {
            modules.push(Module::new(source.name, &cubin)?);
        }
        let state = State {
            graphs: BTreeMap::new(),
            graphs_so_far: 0,
            recording: false,
            staging: Staging::new()?,
            products: Products::new(&info.name, options.autotune, options.kernel_cache.clone())?,
            functions: HashMap::new(),
            modules,
            stream,
            context,
        };
        Ok(Self { info, lost: OnceLock::new(), state: ReentrantMutex::new(RefCell::new(state)) })
    }

    /// Where the GPU sits, as NVML names it.
    pub fn bus_id(&self) -> &str {
        &self.info.bus_id
    }

    /// Which products ran, how often, and how the library does them; those that ran most first.
    pub fn products(&self) -> Vec<ProductUse> {
        let state = self.state.lock();
        state.borrow().products.uses()
    }

    /// How many recordings it holds.
    #[cfg(test)]
    pub(crate) fn recordings(&self) -> usize {
        self.state.lock().borrow().graphs.len()
    }

    /// Does something in the device's order, on whatever thread this is.
    fn with<T>(&self, work: impl FnOnce(&mut State) -> Result<T, DeviceError>) -> Result<T, DeviceError> {
        let state = self.state.lock();
        let mut state =
            state.try_borrow_mut().map_err(|_| failed("a call", "the device is in use below it"))?;
        let done = state.context.bind().and_then(|()| work(&mut state));
        if let Err(error @ DeviceError::Lost { .. }) = &done {
            self.lost.get_or_init(|| error.clone());
        }
        done
    }
}

impl Device for CudaDevice {
    fn name(&self) -> String {
        self.info.name.clone()
    }

    fn lost(&self) -> Option<DeviceError> {
        self.lost.get().cloned()
    }

    fn memory(&self) -> Result<DeviceMemory, DeviceError> {
        self.with(|_| calls::memory())
    }

    fn allocate(&self, bytes: usize) -> Result<Address, DeviceError> {
        self.with(|state| {
            state.refuse_in_recording("allocate")?;
            calls::allocate(bytes)
        })
    }

    fn release(&self, address: Address) {
        let released = self.with(|_| {
            calls::release(address);
            Ok(())
        });
        if let Err(error) = released {
            tracing::warn!("memory of the GPU is not given back: {error}");
        }
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), DeviceError> {
        self.with(|state| {
            state.refuse_in_recording("write")?;
            state.staging.write(&state.stream, to, bytes)
        })
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.with(|state| {
            state.refuse_in_recording("read")?;
            state.stream.read(from, bytes)
        })
    }

    fn zero(&self, at: Address, bytes: usize) -> Result<(), DeviceError> {
        if bytes == 0 {
            return Ok(());
        }
        self.with(|state| state.stream.zero(at, bytes))
    }

    fn has_kernel(&self, kernel: &'static str) -> Result<bool, DeviceError> {
        self.with(|state| state.function(kernel).map(|(_, function)| function.is_some()))
    }

    fn launch(&self, launch: Launch<'_>) -> Result<(), DeviceError> {
        self.with(|state| state.launch(launch))
    }

    fn multiply(&self, gemm: &Gemm) -> Result<(), DeviceError> {
        self.with(|state| state.products.multiply(&state.stream, gemm, state.recording))
    }

    fn record(
        &self,
        work: &mut dyn FnMut() -> Result<(), DeviceError>,
    ) -> Result<Option<GraphId>, DeviceError> {
        let _alone = self.state.lock();
        self.with(|state| {
            state.refuse_in_recording("record")?;
            state.stream.begin_recording()?;
            state.recording = true;
            Ok(())
        })?;
        let worked = work();
        self.with(|state| {
            state.recording = false;
            let ended = state.stream.end_recording();
            // Broken work breaks the recording too; its own error says more.
            worked?;
            state.graphs_so_far += 1;
            let id = GraphId(state.graphs_so_far);
            state.graphs.insert(id, ended?);
            Ok(Some(id))
        })
    }

    fn replay(&self, graph: GraphId) -> Result<(), DeviceError> {
        self.with(|state| {
            let recorded = state.graphs.get(&graph);
            let recorded = recorded.ok_or_else(|| failed("replay", format!("{graph:?} was not recorded")))?;
            state.stream.replay(recorded)
        })
    }

    fn discard(&self, graph: GraphId) {
        // Without the context the graph goes when the device does.
        let _ = self.with(|state| {
            state.graphs.remove(&graph);
            Ok(())
        });
    }

    fn finish(&self) -> Result<(), DeviceError> {
        self.with(|state| {
            state.refuse_in_recording("finish")?;
            state.stream.wait("finish")
        })
    }
}

impl Drop for CudaDevice {
    fn drop(&mut self) {
        // Pinned memory and events may go only when nothing uses them; the context must be this thread's to drop them.
        if let Err(error) = self.finish() {
            tracing::warn!("the GPU is closed with work unfinished: {error}");
        }
    }
}

impl State {
    fn refuse_in_recording(&self, call: &str) -> Result<(), DeviceError> {
        if self.recording {
            return Err(failed(call, "it cannot be part of a recording"));
        }
        Ok(())
    }

    /// A kernel, where some module has it, and the stream to launch it in.
    fn function(
        &mut self,
        kernel: &'static str,
    ) -> Result<(&mut Stream, Option<&mut Function>), DeviceError> {
        let function = match self.functions.entry(kernel) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(find(&self.modules, kernel)?),
        };
        Ok((&mut self.stream, function.as_mut()))
    }

    fn launch(&mut self, launch: Launch<'_>) -> Result<(), DeviceError> {
        let Launch { kernel, grid, threads, shared_bytes, arguments } = launch;
        let (stream, function) = self.function(kernel)?;
        let Some(function) = function else {
            let reason = "no file of kernels has it".to_owned();
            return Err(DeviceError::Kernel { kernel: kernel.to_owned(), reason });
        };
        let given = || arguments.iter().map(|argument| bytes_of(*argument));
        if !given().eq(function.parameters().iter().copied()) {
            let (given, wanted) = (given().collect::<Vec<_>>(), function.parameters());
            let reason = format!("its parameters have {wanted:?} bytes, its arguments {given:?}");
            return Err(DeviceError::Kernel { kernel: kernel.to_owned(), reason });
        }
        function.allow_shared(shared_bytes)?;
        let mut values: Vec<u64> = arguments.iter().map(|argument| argument.bits()).collect();
        stream.launch(function, grid, threads, shared_bytes, &mut values)
    }
}

fn find(modules: &[Module], kernel: &'static str) -> Result<Option<Function>, DeviceError> {
    for module in modules {
        if let Some(function) = module.function(kernel)? {
            return Ok(Some(function));
        }
    }
    Ok(None)
}

fn bytes_of(argument: Argument) -> usize {
    match argument {
        Argument::Address(_) | Argument::Long(_) => 8,
        Argument::Int(_) | Argument::Float(_) => 4,
    }
}

#[cfg(test)]
mod tests;
