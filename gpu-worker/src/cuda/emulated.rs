//! A device for tests: runs the kernels on the CPU, from the very sources that the GPU gets.

#![expect(unsafe_code, reason = "the emulator is a C++ library")]

pub(super) mod library;

use std::{
    alloc::{self, Layout},
    collections::BTreeMap,
    ffi::{CStr, CString, c_int, c_void},
    ptr, slice,
};

use parking_lot::Mutex;

use super::device::{
    Address, Argument, Device, DeviceError, DeviceMemory, Element, Gemm, GraphId, Launch, Operand,
};
use library::Emulator;

/// What every allocation is aligned to, as on a GPU.
const ALIGNMENT: usize = 256;
/// Bytes around an allocation that no kernel may write.
const GUARD_BYTES: usize = 1024;
/// A NaN as bf16 and as f32, and no valid row number.
const UNWRITTEN: u8 = 0xff;
/// What the device says to have.
const TOTAL_BYTES: u64 = 16 << 30;

/// One live allocation, with guards before and after it.
#[derive(Debug, Clone, Copy)]
struct Allocation {
    bytes: usize,
}

impl Allocation {
    fn layout(self) -> Layout {
        let whole = GUARD_BYTES + self.bytes.next_multiple_of(ALIGNMENT) + GUARD_BYTES;
        Layout::from_size_align(whole, ALIGNMENT).expect("a size of memory")
    }
}

/// Runs kernels on the CPU, checks every address that the host gives, and finds writes beside an allocation.
#[derive(Debug)]
pub(crate) struct EmulatedDevice {
    emulator: &'static Emulator,
    seed: u32,
    warpgroups: bool,
    allocations: Mutex<BTreeMap<u64, Allocation>>,
}

impl EmulatedDevice {
    /// Compiles the emulator where that has not been done yet.
    ///
    /// # Panics
    /// When there is no C++ compiler or the kernels do not compile.
    pub(crate) fn new() -> Self {
        Self::in_random_order(0)
    }

    /// A device whose threads run at random from this seed, and not one warp after another; right kernels do not care.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub(crate) fn in_random_order(seed: u32) -> Self {
        Self::with(seed, true)
    }

    /// A device of an architecture before Hopper.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub(crate) fn without_warpgroups() -> Self {
        Self::with(0, false)
    }

    fn with(seed: u32, warpgroups: bool) -> Self {
        Self { emulator: library::emulator(), seed, warpgroups, allocations: Mutex::default() }
    }

    /// The allocation that holds all of a range.
    fn holds(&self, call: &str, at: Address, bytes: usize) -> Result<(), DeviceError> {
        let allocations = self.allocations.lock();
        let before = allocations.range(..=at.0).next_back();
        let end = at.0.checked_add(bytes as u64);
        match (before, end) {
            (Some((start, allocation)), Some(end)) if end <= start + allocation.bytes as u64 => Ok(()),
            _ => Err(failed(call, &format!("{bytes} bytes at {:#x} are not all allocated", at.0))),
        }
    }

    /// Bytes that rows of an operand take.
    fn holds_matrix(
        &self,
        operand: &Operand,
        shape: [usize; 2],
        element: Element,
    ) -> Result<(), DeviceError> {
        let [rows, columns] = if operand.transposed { [shape[1], shape[0]] } else { shape };
        if operand.stride < columns {
            let reason = format!("rows of {columns} values do not fit a stride of {}", operand.stride);
            return Err(failed("multiply", &reason));
        }
        let values = (rows - 1) * operand.stride + columns;
        self.holds("multiply", operand.address, values * element.bytes())
    }

    /// Whether kernels kept to their allocations.
    fn check_guards(&self, call: &str) -> Result<(), DeviceError> {
        for (start, allocation) in &*self.allocations.lock() {
            let written =
                guards_of(*start, *allocation).iter().flat_map(|guard| *guard).any(|b| *b != UNWRITTEN);
            if written {
                let bytes = allocation.bytes;
                let reason = format!("a kernel wrote beside the {bytes} bytes at {start:#x}");
                return Err(failed(call, &reason));
            }
        }
        Ok(())
    }
}

impl Device for EmulatedDevice {
    fn name(&self) -> String {
        "emulator".to_owned()
    }

    fn memory(&self) -> Result<DeviceMemory, DeviceError> {
        let used: u64 = self.allocations.lock().values().map(|allocation| allocation.bytes as u64).sum();
        Ok(DeviceMemory { free: TOTAL_BYTES.saturating_sub(used), total: TOTAL_BYTES })
    }

    fn allocate(&self, bytes: usize) -> Result<Address, DeviceError> {
        let free = self.memory()?.free;
        if bytes as u64 > free {
            return Err(DeviceError::OutOfMemory { bytes: bytes as u64, free });
        }
        let allocation = Allocation { bytes };
        let layout = allocation.layout();
        // SAFETY: the layout has a size, because of the guards.
        let start = unsafe { alloc::alloc(layout) };
        if start.is_null() {
            return Err(DeviceError::OutOfMemory { bytes: bytes as u64, free });
        }
        // SAFETY: all of the allocation.
        unsafe { ptr::write_bytes(start, UNWRITTEN, layout.size()) };
        let address = start as u64 + GUARD_BYTES as u64;
        self.allocations.lock().insert(address, allocation);
        Ok(Address(address))
    }

    fn release(&self, address: Address) {
        if let Err(error) = self.check_guards("release")
            && !std::thread::panicking()
        {
            panic!("{error}");
        }
        let Some(allocation) = self.allocations.lock().remove(&address.0) else {
            panic!("{:#x} is not allocated", address.0);
        };
        // SAFETY: `allocate` took it with this layout, and it was in the list until now.
        unsafe { alloc::dealloc((address.0 - GUARD_BYTES as u64) as *mut u8, allocation.layout()) };
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), DeviceError> {
        self.holds("write", to, bytes.len())?;
        // SAFETY: the range is allocated.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to.0 as *mut u8, bytes.len()) };
        Ok(())
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.check_guards("read")?;
        self.holds("read", from, bytes.len())?;
        // SAFETY: the range is allocated.
        unsafe { ptr::copy_nonoverlapping(from.0 as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn zero(&self, at: Address, bytes: usize) -> Result<(), DeviceError> {
        self.holds("zero", at, bytes)?;
        // SAFETY: the range is allocated.
        unsafe { ptr::write_bytes(at.0 as *mut u8, 0, bytes) };
        Ok(())
    }

    fn has_kernel(&self, kernel: &'static str) -> Result<bool, DeviceError> {
        Ok((self.warpgroups || !kernel.contains("_hopper_")) && self.knows(kernel))
    }

    fn launch(&self, launch: Launch<'_>) -> Result<(), DeviceError> {
        let name = CString::new(launch.kernel).expect("the name of a kernel");
        self.check_arguments(&launch, &name)?;
        let mut values: Vec<u64> = launch.arguments.iter().map(|argument| argument.bits()).collect();
        let mut pointers: Vec<*mut c_void> =
            values.iter_mut().map(|value| ptr::from_mut(value).cast()).collect();
        let [x, y, z] = launch.grid;
        // SAFETY: the arguments have the kernel's types; their addresses are checked where the host uses them, and by guards.
        let answer = unsafe {
            (self.emulator.schedule)(self.seed);
            (self.emulator.launch)(
                name.as_ptr(),
                x,
                y,
                z,
                launch.threads,
                launch.shared_bytes,
                pointers.as_mut_ptr(),
            )
        };
        if answer != 0 {
            let reason = format!(
                "the emulator refuses a grid of {:?} blocks of {} threads with {} bytes, or the kernel broke a rule",
                launch.grid, launch.threads, launch.shared_bytes
            );
            return Err(failed(launch.kernel, &reason));
        }
        self.check_guards(launch.kernel)
    }

    fn multiply(&self, gemm: &Gemm) -> Result<(), DeviceError> {
        let Gemm { m, n, k, alpha, a, b, c, d, result, bias } = *gemm;
        if m == 0 || n == 0 || k == 0 || d.transposed || (bias.is_some() && result == Element::F32) {
            return Err(failed("multiply", &format!("not a product that a GPU can do: {gemm:?}")));
        }
        self.holds_matrix(&a, [m, k], Element::Bf16)?;
        self.holds_matrix(&b, [k, n], Element::Bf16)?;
        self.holds_matrix(&d, [m, n], result)?;
        if let Some(c) = &c {
            self.holds_matrix(c, [m, n], result)?;
        }
        if let Some(bias) = bias {
            self.holds("multiply", bias, n * Element::Bf16.bytes())?;
        }
        let added = c.unwrap_or(Operand { address: Address::NULL, ..d });
        // SAFETY: all operands are allocated in their whole size.
        unsafe {
            (self.emulator.multiply)(
                m,
                n,
                k,
                alpha,
                a.address.0 as *const c_void,
                a.stride,
                c_int::from(a.transposed),
                b.address.0 as *const c_void,
                b.stride,
                c_int::from(b.transposed),
                added.address.0 as *const c_void,
                added.stride,
                c_int::from(added.transposed),
                d.address.0 as *mut c_void,
                d.stride,
                c_int::from(result == Element::F32),
                bias.unwrap_or(Address::NULL).0 as *const c_void,
            );
        }
        Ok(())
    }

    fn record(
        &self,
        _work: &mut dyn FnMut() -> Result<(), DeviceError>,
    ) -> Result<Option<GraphId>, DeviceError> {
        Ok(None)
    }

    fn replay(&self, graph: GraphId) -> Result<(), DeviceError> {
        Err(failed("replay", &format!("{graph:?} was not recorded")))
    }

    fn discard(&self, _graph: GraphId) {}

    fn finish(&self) -> Result<(), DeviceError> {
        self.check_guards("finish")
    }
}

impl EmulatedDevice {
    /// Whether a kernel is exported.
    pub(crate) fn knows(&self, kernel: &str) -> bool {
        self.signature(&CString::new(kernel).expect("the name of a kernel")).is_some()
    }

    /// The types of a kernel's parameters, a letter each.
    fn signature(&self, kernel: &CStr) -> Option<&'static CStr> {
        // SAFETY: the name ends with a zero; the answer is null or a text that lives as long as the library.
        unsafe {
            let signature = (self.emulator.signature)(kernel.as_ptr());
            (!signature.is_null()).then(|| CStr::from_ptr(signature))
        }
    }

    /// A kernel gets as many arguments as it has parameters, of their types.
    fn check_arguments(&self, launch: &Launch<'_>, name: &CStr) -> Result<(), DeviceError> {
        let signature = self.signature(name);
        let Some(signature) = signature else {
            let reason = "the emulator does not know it; is it exported and in emulator.cpp?".to_owned();
            return Err(DeviceError::Kernel { kernel: launch.kernel.to_owned(), reason });
        };
        let given: String = launch
            .arguments
            .iter()
            .map(|argument| match argument {
                Argument::Address(_) => 'p',
                Argument::Int(_) => 'i',
                Argument::Long(_) => 'l',
                Argument::Float(_) => 'f',
            })
            .collect();
        if signature.to_bytes() != given.as_bytes() {
            let reason = format!("its parameters are {signature:?}, its arguments {given:?}");
            return Err(DeviceError::Kernel { kernel: launch.kernel.to_owned(), reason });
        }
        Ok(())
    }
}

impl Drop for EmulatedDevice {
    fn drop(&mut self) {
        for (start, allocation) in &*self.allocations.lock() {
            // SAFETY: `allocate` took it with this layout, and nobody gave it back.
            unsafe { alloc::dealloc((start - GUARD_BYTES as u64) as *mut u8, allocation.layout()) };
        }
    }
}

fn failed(call: &str, reason: &str) -> DeviceError {
    DeviceError::Failed { call: call.to_owned(), reason: reason.to_owned() }
}

/// The bytes before and after an allocation.
fn guards_of(start: u64, allocation: Allocation) -> [&'static [u8]; 2] {
    let end = start + allocation.bytes as u64;
    let after = allocation.layout().size() - GUARD_BYTES - allocation.bytes;
    // SAFETY: both lie in the allocation with its guards, which lives while it is in the list that the caller holds.
    unsafe {
        [
            slice::from_raw_parts((start - GUARD_BYTES as u64) as *const u8, GUARD_BYTES),
            slice::from_raw_parts(end as *const u8, after),
        ]
    }
}

#[cfg(test)]
mod tests;
