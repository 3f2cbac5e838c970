//! Trace context: one trace per job, carried in message headers and gRPC metadata as W3C `traceparent`.

use std::fmt;

use clara_lifecycle::id::JobId;
use sha2::{Digest as _, Sha256};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use uuid::Uuid;

#[cfg(test)]
mod tests;

/// Name of the header and of the metadata entry.
pub const TRACEPARENT: &str = "traceparent";

/// Length of `00-<trace id>-<span id>-<flags>`.
const TRACEPARENT_CHARS: usize = 55;

/// Where in which trace something happens: <https://www.w3.org/TR/trace-context/>.
///
/// Neither id is all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
}

impl TraceContext {
    /// The trace of a job, with a fresh span id.
    ///
    /// The trace id is the UUID in `job-<uuid>`, so that a job is found by its id in every tracing system; other
    /// names give the first 16 bytes of their SHA-256.
    pub fn of_job(job: &JobId) -> Self {
        let uuid = job.as_str().strip_prefix("job-").and_then(|text| Uuid::try_parse(text).ok());
        let trace_id = uuid.filter(|uuid| !uuid.is_nil()).map_or_else(|| hashed(job), Uuid::into_bytes);
        Self { trace_id, span_id: fresh_span_id() }
    }

    /// Reads a `traceparent`. What is not one answers `None`; the trace begins anew then, as the standard says.
    ///
    /// Versions after 00 are read as far as 00 goes.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let (known, further) = traceparent.split_at_checked(TRACEPARENT_CHARS)?;
        let mut parts = known.split('-');
        let [version] = bytes(parts.next()?)?;
        let (trace_id, span_id) = (bytes(parts.next()?)?, bytes(parts.next()?)?);
        let [_flags] = bytes(parts.next()?)?;
        let continues_well = match version {
            0x00 => further.is_empty(),
            0xff => false,
            _ => further.is_empty() || further.starts_with('-'),
        };
        let is_valid = continues_well && parts.next().is_none() && trace_id != [0; 16] && span_id != [0; 8];
        is_valid.then_some(Self { trace_id, span_id })
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span_id: fresh_span_id(), ..self }
    }

    /// The trace as 32 hexadecimal digits: what logs show as `trace.id`.
    pub fn trace_id(self) -> impl fmt::Display {
        Hex(self.trace_id)
    }

    /// A gRPC request that carries this context.
    pub fn inject<T>(self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        // Hexadecimal digits and hyphens are always a valid value.
        if let Ok(value) = MetadataValue::<Ascii>::try_from(self.to_string()) {
            request.metadata_mut().insert(TRACEPARENT, value);
        }
        request
    }

    /// The context that a gRPC request carries. Several of them are as good as none, as the standard says.
    pub fn extract(metadata: &MetadataMap) -> Option<Self> {
        let mut values = metadata.get_all(TRACEPARENT).iter();
        let only = values.next()?;
        if values.next().is_some() {
            return None;
        }
        Self::parse(only.to_str().ok()?)
    }
}

/// The `traceparent`, version 00, marked as sampled.
impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "00-{}-{}-01", Hex(self.trace_id), Hex(self.span_id))
    }
}

struct Hex<const LENGTH: usize>([u8; LENGTH]);

impl<const LENGTH: usize> fmt::Display for Hex<LENGTH> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// Reads exactly `LENGTH` bytes of small hexadecimal digits; the standard knows no capitals.
fn bytes<const LENGTH: usize>(text: &str) -> Option<[u8; LENGTH]> {
    let digit = |character: u8| match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != LENGTH || !rest.is_empty() {
        return None;
    }
    let mut read = [0; LENGTH];
    for (byte, [high, low]) in read.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(read)
}

fn hashed(job: &JobId) -> [u8; 16] {
    let mut trace_id = [0; 16];
    for (byte, hashed) in trace_id.iter_mut().zip(Sha256::digest(job.as_str())) {
        *byte = hashed;
    }
    trace_id
}

fn fresh_span_id() -> [u8; 8] {
    // Each half of a random UUID has fixed bits; put together they have none.
    let (high, low) = Uuid::new_v4().as_u64_pair();
    (high ^ low).max(1).to_be_bytes()
}
