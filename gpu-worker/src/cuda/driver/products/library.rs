//! Calls of cuBLASLt. The library must have been opened before.

#![expect(unsafe_code, reason = "cuBLASLt is a C library")]

use std::{
    ffi::{c_int, c_void},
    fmt, mem, ptr,
};

use cudarc::cublaslt::sys::{
    self, cublasLtEpilogue_t as Epilogue, cublasLtMatmulAlgoConfigAttributes_t as Configuration,
    cublasLtMatmulDescAttributes_t as Description, cublasLtMatmulPreferenceAttributes_t as Preference,
    cublasLtReductionScheme_t as Reduction, cublasStatus_t as Status, cudaDataType as DataType,
};

use super::{Key, Placed};
use crate::cuda::{
    Address, DeviceError, Element, Gemm,
    driver::calls::{Stream, failed},
};

/// Algorithms that are asked for.
const PROPOSALS: c_int = 8;

fn check(call: &str, status: Status) -> Result<(), DeviceError> {
    match status {
        Status::CUBLAS_STATUS_SUCCESS => Ok(()),
        other => Err(failed(call, format!("{other:?}"))),
    }
}

/// The library's own state.
#[derive(Debug)]
pub(super) struct Handle(sys::cublasLtHandle_t);

// SAFETY: the library says that a handle may be used from any thread; only it looks behind the pointer.
unsafe impl Send for Handle {}

impl Handle {
    pub(super) fn new() -> Result<Self, DeviceError> {
        let mut handle = ptr::null_mut();
        // SAFETY: the pointer is valid for the call.
        check("cublasLtCreate", unsafe { sys::cublasLtCreate(&raw mut handle) })?;
        Ok(Self(handle))
    }
}

/// The library's version.
pub(super) fn version() -> usize {
    // SAFETY: it has no conditions.
    unsafe { sys::cublasLtGetVersion() }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: this owns the handle. Nothing can be done when it fails.
        unsafe { sys::cublasLtDestroy(self.0) };
    }
}

/// One way to do a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Algorithm(sys::cublasLtMatmulAlgo_t);

impl Algorithm {
    /// Length of what [`Self::to_bytes`] gives.
    pub(super) const BYTES: usize = mem::size_of::<sys::cublasLtMatmulAlgo_t>();

    /// To be read by the same version of the library.
    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        for (into, word) in bytes.chunks_exact_mut(8).zip(self.0.data) {
            into.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// What [`Self::to_bytes`] gave.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut algorithm = sys::cublasLtMatmulAlgo_t { data: [0; 8] };
        if bytes.len() != Self::BYTES {
            return None;
        }
        for (word, bytes) in algorithm.data.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().ok()?);
        }
        Some(Self(algorithm))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("algorithm", Configuration::CUBLASLT_ALGO_CONFIG_ID),
            ("tile", Configuration::CUBLASLT_ALGO_CONFIG_TILE_ID),
            ("stages", Configuration::CUBLASLT_ALGO_CONFIG_STAGES_ID),
            ("split", Configuration::CUBLASLT_ALGO_CONFIG_SPLITK_NUM),
            ("reduction", Configuration::CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME),
        ];
        for (index, (name, attribute)) in parts.into_iter().enumerate() {
            let (mut value, mut written) = (0_u32, 0_usize);
            // SAFETY: the pointers are valid for the call, and each of these numbers has 32 bits.
            let status = unsafe {
                sys::cublasLtMatmulAlgoConfigGetAttribute(
                    &raw const self.0,
                    attribute,
                    (&raw mut value).cast(),
                    mem::size_of::<u32>(),
                    &raw mut written,
                )
            };
            if status == Status::CUBLAS_STATUS_SUCCESS {
                write!(formatter, "{}{name} {value}", if index == 0 { "" } else { ", " })?;
            }
        }
        Ok(())
    }
}

/// The descriptors of one shape of product.
///
/// The library counts columns first, where our matrices are the transposed ones: `dᵀ = bᵀ·aᵀ`. So its first factor is our second.
#[derive(Debug)]
pub(super) struct Problem {
    description: Described,
    first: Layout,
    second: Layout,
    added: Layout,
    result: Layout,
}

impl Problem {
    pub(super) fn new(key: &Key) -> Result<Self, DeviceError> {
        let description = Described::new()?;
        // CUBLAS_OP_T and CUBLAS_OP_N, which the bindings lack.
        let operation = |placed: &Placed| i32::from(placed.transposed);
        description.set(Description::CUBLASLT_MATMUL_DESC_TRANSA, operation(&key.b))?;
        description.set(Description::CUBLASLT_MATMUL_DESC_TRANSB, operation(&key.a))?;
        if key.bias {
            description
                .set(Description::CUBLASLT_MATMUL_DESC_EPILOGUE, Epilogue::CUBLASLT_EPILOGUE_BIAS as u32)?;
        }
        let result = match key.result {
            Element::Bf16 => DataType::CUDA_R_16BF,
            Element::F32 => DataType::CUDA_R_32F,
        };
        Ok(Self {
            description,
            first: Layout::new(DataType::CUDA_R_16BF, [key.k, key.n], &key.b)?,
            second: Layout::new(DataType::CUDA_R_16BF, [key.m, key.k], &key.a)?,
            added: Layout::new(result, [key.m, key.n], &key.c.unwrap_or(key.d))?,
            result: Layout::new(result, [key.m, key.n], &key.d)?,
        })
    }

    /// The library's proposals, the best by its own estimate first.
    pub(super) fn proposals(
        &mut self,
        handle: &Handle,
        gemm: &Gemm,
        key: &Key,
        workspace_bytes: usize,
    ) -> Result<Vec<Algorithm>, DeviceError> {
        // The library looks at the place of the bias too.
        self.set_bias(gemm)?;
        let preferences = Preferences::new()?;
        let alignments = [
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.b.alignment),
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.a.alignment),
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.c.unwrap_or(key.d).alignment),
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.d.alignment),
            // Partial sums in f32, and in a fixed order.
            (
                Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                Reduction::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32,
            ),
        ];
        for (attribute, value) in alignments {
            preferences.set(attribute, value)?;
        }
        preferences.set(Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes as u64)?;
        // SAFETY: of integers, floats and an enumeration that has a zero.
        let mut found: [sys::cublasLtMatmulHeuristicResult_t; PROPOSALS as usize] = unsafe { mem::zeroed() };
        let mut count: c_int = 0;
        // SAFETY: all descriptors are alive, and there is room for as many results as are asked for.
        let status = unsafe {
            sys::cublasLtMatmulAlgoGetHeuristic(
                handle.0,
                self.description.0,
                self.first.0,
                self.second.0,
                self.added.0,
                self.result.0,
                preferences.0,
                PROPOSALS,
                found.as_mut_ptr(),
                &raw mut count,
            )
        };
        match status {
            // That it knows no algorithm is told as an empty list by some versions, and as an error by others.
            Status::CUBLAS_STATUS_NOT_SUPPORTED => return Ok(Vec::new()),
            other => check("cublasLtMatmulAlgoGetHeuristic", other)?,
        }
        let count = usize::try_from(count).unwrap_or(0);
        let usable = found.iter().take(count).filter(|result| {
            result.state == Status::CUBLAS_STATUS_SUCCESS && result.workspaceSize <= workspace_bytes
        });
        Ok(usable.map(|result| Algorithm(result.algo)).collect())
    }

    /// Starts the product.
    pub(super) fn run(
        &mut self,
        handle: &Handle,
        algorithm: &Algorithm,
        gemm: &Gemm,
        workspace: Address,
        stream: &Stream,
    ) -> Result<(), DeviceError> {
        self.set_bias(gemm)?;
        let beta: f32 = if gemm.c.is_some() { 1.0 } else { 0.0 };
        let pointer = |address: Address| address.0 as *const c_void;
        // SAFETY: all descriptors are alive; the scalars are read before this returns; the workspace has the size that the
        // proposals were asked with. That the operands lie in allocated memory is the caller's promise, which the device enforces.
        let status = unsafe {
            sys::cublasLtMatmul(
                handle.0,
                self.description.0,
                (&raw const gemm.alpha).cast(),
                pointer(gemm.b.address),
                self.first.0,
                pointer(gemm.a.address),
                self.second.0,
                (&raw const beta).cast(),
                pointer(gemm.c.map_or(gemm.d.address, |c| c.address)),
                self.added.0,
                gemm.d.address.0 as *mut c_void,
                self.result.0,
                &raw const algorithm.0,
                workspace.0 as *mut c_void,
                super::WORKSPACE_BYTES,
                stream.as_raw().cast(),
            )
        };
        check("cublasLtMatmul", status)
    }

    fn set_bias(&mut self, gemm: &Gemm) -> Result<(), DeviceError> {
        match gemm.bias {
            Some(bias) => self.description.set(Description::CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.0),
            None => Ok(()),
        }
    }
}

#[derive(Debug)]
struct Described(sys::cublasLtMatmulDesc_t);

// SAFETY: only the library looks behind the pointer, in calls that this orders.
unsafe impl Send for Described {}

impl Described {
    fn new() -> Result<Self, DeviceError> {
        let mut description = ptr::null_mut();
        let (compute, scale) = (sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, DataType::CUDA_R_32F);
        // SAFETY: the pointer is valid for the call.
        check("cublasLtMatmulDescCreate", unsafe {
            sys::cublasLtMatmulDescCreate(&raw mut description, compute, scale)
        })?;
        Ok(Self(description))
    }

    /// The value must have the attribute's size.
    fn set<T: Copy>(&self, attribute: Description, value: T) -> Result<(), DeviceError> {
        // SAFETY: this owns the description; the library checks the size and copies the value.
        check("cublasLtMatmulDescSetAttribute", unsafe {
            sys::cublasLtMatmulDescSetAttribute(
                self.0,
                attribute,
                (&raw const value).cast(),
                mem::size_of::<T>(),
            )
        })
    }
}

impl Drop for Described {
    fn drop(&mut self) {
        // SAFETY: this owns it.
        unsafe { sys::cublasLtMatmulDescDestroy(self.0) };
    }
}

#[derive(Debug)]
struct Layout(sys::cublasLtMatrixLayout_t);

// SAFETY: only the library looks behind the pointer, in calls that this orders.
unsafe impl Send for Layout {}

impl Layout {
    /// Of an operand with so many rows and columns, after transposition where it is transposed.
    fn new(values: DataType, shape: [usize; 2], placed: &Placed) -> Result<Self, DeviceError> {
        let [rows, columns] = if placed.transposed { [shape[1], shape[0]] } else { shape };
        let mut layout = ptr::null_mut();
        let stride = i64::try_from(placed.stride).map_err(|error| failed("multiply", error.to_string()))?;
        // SAFETY: the pointer is valid for the call. The library's rows are our columns.
        check("cublasLtMatrixLayoutCreate", unsafe {
            sys::cublasLtMatrixLayoutCreate(&raw mut layout, values, columns as u64, rows as u64, stride)
        })?;
        Ok(Self(layout))
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: this owns it.
        unsafe { sys::cublasLtMatrixLayoutDestroy(self.0) };
    }
}

#[derive(Debug)]
struct Preferences(sys::cublasLtMatmulPreference_t);

impl Preferences {
    fn new() -> Result<Self, DeviceError> {
        let mut preferences = ptr::null_mut();
        // SAFETY: the pointer is valid for the call.
        check("cublasLtMatmulPreferenceCreate", unsafe {
            sys::cublasLtMatmulPreferenceCreate(&raw mut preferences)
        })?;
        Ok(Self(preferences))
    }

    /// The value must have the attribute's size.
    fn set<T: Copy>(&self, attribute: Preference, value: T) -> Result<(), DeviceError> {
        // SAFETY: this owns the preferences; the library checks the size and copies the value.
        check("cublasLtMatmulPreferenceSetAttribute", unsafe {
            sys::cublasLtMatmulPreferenceSetAttribute(
                self.0,
                attribute,
                (&raw const value).cast(),
                mem::size_of::<T>(),
            )
        })
    }
}

impl Drop for Preferences {
    fn drop(&mut self) {
        // SAFETY: this owns them.
        unsafe { sys::cublasLtMatmulPreferenceDestroy(self.0) };
    }
}
