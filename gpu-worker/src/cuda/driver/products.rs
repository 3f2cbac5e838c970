//! Matrix products by cuBLASLt: one plan for each shape, its algorithm the fastest of those that the library proposes.

mod choices;
mod library;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::PathBuf,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use self::{
    choices::Choices,
    library::{Algorithm, Handle, Problem},
};
use super::calls::{self, Stream, failed};
use crate::cuda::{Address, DeviceError, Element, Gemm, Operand};

/// What algorithms may use for partial sums; the library's own default on Hopper is half of it.
const WORKSPACE_BYTES: usize = 64 << 20;
/// How long an algorithm is timed, unless one run takes longer.
const TIMED: Duration = Duration::from_millis(1);
const MOST_TIMED_RUNS: u32 = 20;

/// One shape of product: how often it ran, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductUse {
    /// Shape and kind.
    pub product: String,
    /// Calls so far; each call of a recording counts once.
    pub calls: u64,
    /// The library's numbers for its algorithm.
    pub algorithm: String,
    /// How many it was chosen from by time; 1 when it was not timed.
    pub candidates: usize,
}

/// All that an algorithm depends on. In the library's order, columns first: the transposed product of the transposed factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    m: usize,
    n: usize,
    k: usize,
    a: Placed,
    b: Placed,
    c: Option<Placed>,
    d: Placed,
    result: Element,
    bias: bool,
    in_place: bool,
}

/// How an operand lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Placed {
    stride: usize,
    transposed: bool,
    /// Bytes that its address is a multiple of, at most 256.
    alignment: u32,
}

impl Placed {
    fn new(operand: &Operand) -> Self {
        let zeros = operand.address.0.trailing_zeros().min(8);
        Self { stride: operand.stride, transposed: operand.transposed, alignment: 1 << zeros }
    }
}

impl Key {
    fn new(gemm: &Gemm) -> Result<Self, DeviceError> {
        let refused = |reason: &str| Err(failed("multiply", format!("{reason}: {gemm:?}")));
        let Gemm { m, n, k, a, b, c, d, result, bias, .. } = gemm;
        if [*m, *n, *k].contains(&0) {
            return refused("a product without rows, columns or inner width");
        }
        if d.transposed || c.is_some_and(|c| c.transposed) {
            return refused("the result and what is added to it cannot be transposed");
        }
        if bias.is_some() && *result == Element::F32 {
            return refused("a bias in bf16 needs a result in bf16");
        }
        let in_place = c.is_some_and(|c| c.address == d.address);
        if in_place && c.is_some_and(|c| c.stride != d.stride) {
            return refused("the result cannot be added to itself in another layout");
        }
        let fits = |operand: &Operand, rows: usize, columns: usize| {
            operand.stride >= if operand.transposed { rows } else { columns }
        };
        if !fits(a, *m, *k) || !fits(b, *k, *n) || !fits(d, *m, *n) || !c.is_none_or(|c| fits(&c, *m, *n)) {
            return refused("rows do not fit their stride");
        }
        Ok(Self {
            m: *m,
            n: *n,
            k: *k,
            a: Placed::new(a),
            b: Placed::new(b),
            c: c.as_ref().map(Placed::new),
            d: Placed::new(d),
            result: *result,
            bias: bias.is_some(),
            in_place,
        })
    }

    /// Bytes from the first value of the result to the last.
    fn result_bytes(&self) -> usize {
        ((self.m - 1) * self.d.stride + self.n) * self.result.bytes()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { m, n, k, a, b, result, .. } = self;
        let mark = |placed: &Placed| if placed.transposed { "ᵀ" } else { "" };
        write!(formatter, "[{m}, {k}]{} · [{k}, {n}]{} in {result:?}", mark(a), mark(b))?;
        match (self.c, self.in_place) {
            (Some(_), true) => formatter.write_str(" added in place")?,
            (Some(_), false) => formatter.write_str(" added")?,
            (None, _) => {}
        }
        if self.bias { formatter.write_str(" with bias") } else { Ok(()) }
    }
}

/// A shape's descriptors and its algorithm.
#[derive(Debug)]
struct Plan {
    problem: Problem,
    algorithm: Algorithm,
    candidates: usize,
    calls: u64,
}

/// The library's version, the device's name, and the shape.
type Place = (usize, String, Key);

/// Algorithms that were timed in this process, and how many there were: a device that is opened again gives the same sums.
static TIMED_CHOICES: Mutex<BTreeMap<Place, (Algorithm, usize)>> = Mutex::new(BTreeMap::new());

/// All products of a device.
#[derive(Debug)]
pub(super) struct Products {
    handle: Handle,
    device: String,
    workspace: Workspace,
    autotune: bool,
    choices: Choices,
    plans: HashMap<Key, Plan>,
}

/// Device memory, given back when dropped.
#[derive(Debug)]
struct Workspace(Address);

impl Workspace {
    fn new(bytes: usize) -> Result<Self, DeviceError> {
        calls::allocate(bytes).map(Self)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        calls::release(self.0);
    }
}

impl Products {
    /// Choices by time are kept in the folder `choices`.
    pub(super) fn new(device: &str, autotune: bool, choices: Option<PathBuf>) -> Result<Self, DeviceError> {
        Ok(Self {
            handle: Handle::new()?,
            device: device.to_owned(),
            workspace: Workspace::new(WORKSPACE_BYTES)?,
            autotune,
            choices: Choices::new(choices),
            plans: HashMap::new(),
        })
    }

    /// Starts a product. The first one of a shape asks for algorithms, and times them unless a recording is under way.
    pub(super) fn multiply(
        &mut self,
        stream: &Stream,
        gemm: &Gemm,
        recording: bool,
    ) -> Result<(), DeviceError> {
        let key = Key::new(gemm)?;
        if !self.plans.contains_key(&key) {
            let plan = self.plan(stream, key, gemm, recording)?;
            self.plans.insert(key, plan);
        }
        let Some(plan) = self.plans.get_mut(&key) else {
            return Err(failed("multiply", "a plan was lost"));
        };
        plan.calls += 1;
        plan.problem.run(&self.handle, &plan.algorithm, gemm, self.workspace.0, stream)
    }

    pub(super) fn uses(&self) -> Vec<ProductUse> {
        let mut uses: Vec<ProductUse> = self
            .plans
            .iter()
            .map(|(key, plan)| ProductUse {
                product: key.to_string(),
                calls: plan.calls,
                algorithm: plan.algorithm.to_string(),
                candidates: plan.candidates,
            })
            .collect();
        uses.sort_by(|a, b| b.calls.cmp(&a.calls).then_with(|| a.product.cmp(&b.product)));
        uses
    }

    fn plan(&self, stream: &Stream, key: Key, gemm: &Gemm, recording: bool) -> Result<Plan, DeviceError> {
        let mut problem = Problem::new(&key)?;
        let place = (library::version(), self.device.clone(), key);
        let chosen = || TIMED_CHOICES.lock().get(&place).copied().or_else(|| self.choices.read(&place));
        if let Some((algorithm, candidates)) = Some(()).filter(|()| self.autotune).and_then(|()| chosen()) {
            TIMED_CHOICES.lock().insert(place, (algorithm, candidates));
            return Ok(Plan { problem, algorithm, candidates, calls: 0 });
        }
        let proposals = problem.proposals(&self.handle, gemm, &key, WORKSPACE_BYTES)?;
        let Some(first) = proposals.first().copied() else {
            return Err(failed("multiply", format!("cuBLASLt has no algorithm for {key}")));
        };
        if !self.autotune || recording || proposals.len() == 1 {
            return Ok(Plan { problem, algorithm: first, candidates: 1, calls: 0 });
        }
        let algorithm = self.fastest(stream, &mut problem, &proposals, &key, gemm)?.unwrap_or(first);
        let (algorithm, candidates) = self.choices.keep(&place, (algorithm, proposals.len()));
        TIMED_CHOICES.lock().insert(place, (algorithm, candidates));
        Ok(Plan { problem, algorithm, candidates, calls: 0 })
    }

    /// The proposal that takes least time on the real operands, none when there is no room to try.
    fn fastest(
        &self,
        stream: &Stream,
        problem: &mut Problem,
        proposals: &[Algorithm],
        key: &Key,
        gemm: &Gemm,
    ) -> Result<Option<Algorithm>, DeviceError> {
        let mut tried = *gemm;
        // A product that is added to its own place would be added once for every try.
        let scratch = if key.in_place {
            match Workspace::new(key.result_bytes()) {
                Ok(scratch) => Some(scratch),
                Err(DeviceError::OutOfMemory { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        } else {
            None
        };
        if let Some(scratch) = &scratch {
            stream.zero(scratch.0, key.result_bytes())?;
            tried.d.address = scratch.0;
            tried.c = Some(tried.d);
        }
        stream.wait("multiply")?;
        let mut best: Option<(Duration, Algorithm)> = None;
        for algorithm in proposals {
            let mut time = |runs: u32| {
                let start = Instant::now();
                for _ in 0..runs {
                    problem.run(&self.handle, algorithm, &tried, self.workspace.0, stream)?;
                }
                stream.wait("multiply")?;
                Ok(start.elapsed() / runs)
            };
            // The first run loads the kernel. A proposal may be refused after all; a broken device breaks the rest too.
            let once = match time(1).and_then(|_| time(1)) {
                Ok(once) => once,
                Err(DeviceError::Failed { reason, .. }) => {
                    tracing::debug!("an algorithm for {key} is refused: {reason}");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let runs = TIMED.as_nanos().checked_div(once.as_nanos()).unwrap_or(1);
            let runs = u32::try_from(runs).unwrap_or(MOST_TIMED_RUNS).clamp(1, MOST_TIMED_RUNS);
            let duration = time(runs)?.min(time(runs)?);
            if best.is_none_or(|(least, _)| duration < least) {
                best = Some((duration, *algorithm));
            }
        }
        Ok(best.map(|(_, algorithm)| algorithm))
    }
}

#[cfg(test)]
mod tests;
