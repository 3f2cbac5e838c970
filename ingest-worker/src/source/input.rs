//! The bytes of a file: unpacked where it is packed, UTF-8 where it is UTF-16, and counted and hashed as they are stored.

#[cfg(test)]
mod tests;
mod utf16;

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use clara_lifecycle::digest::Digest;
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use self::utf16::Utf16;
use crate::error::IngestError;

const GZIP_MAGIC: &[u8] = b"\x1f\x8b";
const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
const BUFFER_BYTES: usize = 64 << 10;
/// A packed file may unpack to so many bytes whatever its own size is.
const FREE_UNPACKED_BYTES: u64 = 1 << 30;
/// Beyond that, at most to so many times its own size; text reaches some ten times.
const MOST_UNPACKED_RATIO: u64 = 500;

/// A file of text, read from its start to its end.
///
/// Whether it is packed is told by its first bytes: no text begins like that, and objects of stores often lack an ending.
pub(super) struct Input {
    path: PathBuf,
    reader: Reader,
    encoding: Encoding,
    unpacked_bytes: u64,
}

enum Encoding {
    /// Nothing was read yet.
    Unknown,
    AsStored,
    Utf16(Utf16),
}

enum Reader {
    Stored(BufReader<StoredFile>),
    Gzip(BufReader<MultiGzDecoder<BufReader<StoredFile>>>),
    Zstd(BufReader<zstd::Decoder<'static, BufReader<StoredFile>>>),
}

/// Why reading ended early.
#[derive(Debug)]
pub(super) enum Failure {
    /// The machine could not read it.
    Machine(io::Error),
    /// The content is damaged: what is wrong with it.
    Content(String),
}

/// Passes bytes of a file on and computes their digest on the way.
#[derive(Debug)]
struct StoredFile {
    file: File,
    hasher: Sha256,
    bytes: u64,
    has_failed: bool,
}

impl Input {
    /// Opens a file at its start.
    pub(super) fn open(path: &Path) -> Result<Self, IngestError> {
        let file = File::open(path).map_err(IngestError::read(path))?;
        let stored = StoredFile { file, hasher: Sha256::new(), bytes: 0, has_failed: false };
        let mut stored = BufReader::with_capacity(BUFFER_BYTES, stored);
        let start = stored.fill_buf().map_err(IngestError::read(path))?;
        let reader = if start.starts_with(GZIP_MAGIC) {
            Reader::Gzip(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(stored)))
        } else if start.starts_with(ZSTD_MAGIC) {
            let decoder = zstd::Decoder::with_buffer(stored).map_err(IngestError::read(path))?;
            Reader::Zstd(BufReader::with_capacity(BUFFER_BYTES, decoder))
        } else {
            Reader::Stored(stored)
        };
        Ok(Self { path: path.to_owned(), reader, encoding: Encoding::Unknown, unpacked_bytes: 0 })
    }

    /// Reads what is left of the stored bytes without unpacking it, so that the digest is of the whole file.
    pub(super) fn drain(&mut self) -> Result<(), IngestError> {
        let stored = match &mut self.reader {
            Reader::Stored(reader) => reader,
            Reader::Gzip(reader) => reader.get_mut().get_mut(),
            Reader::Zstd(reader) => reader.get_mut().get_mut(),
        };
        io::copy(stored, &mut io::sink()).map(|_| ()).map_err(IngestError::read(&self.path))
    }

    /// Size and digest of the stored bytes that were read.
    pub(super) fn read_so_far(&self) -> (u64, Digest) {
        let stored = self.stored();
        (stored.bytes, Digest::from_hash(stored.hasher.clone().finalize().as_ref()))
    }

    /// Bytes that can be consumed next, none at the end.
    pub(super) fn available(&mut self) -> Result<&[u8], IngestError> {
        if let Err(error) = self.fill_buf() {
            return Err(self.fatal(error));
        }
        Ok(match &self.encoding {
            Encoding::Utf16(text) => text.decoded(),
            Encoding::Unknown | Encoding::AsStored => self.reader.buffer(),
        })
    }

    /// Whether the machine or the content is to blame for an error.
    pub(super) fn failure(&self, error: io::Error) -> Failure {
        if self.stored().has_failed {
            return Failure::Machine(error);
        }
        let packing = match &self.reader {
            Reader::Stored(_) => return Failure::Machine(error),
            Reader::Gzip(_) => "gzip",
            Reader::Zstd(_) => "zstd",
        };
        Failure::Content(match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("its {packing} data ends too early"),
            io::ErrorKind::FileTooLarge => error.to_string(),
            _ => format!("its {packing} data is damaged ({error})"),
        })
    }

    /// The error of a file with many documents, of which an unknown number is lost.
    pub(super) fn fatal(&self, error: io::Error) -> IngestError {
        match self.failure(error) {
            Failure::Machine(source) => IngestError::Read { path: self.path.clone(), source },
            Failure::Content(problem) => self.damaged(problem),
        }
    }

    /// The error of a file whose rest cannot be understood.
    pub(super) fn damaged(&self, problem: String) -> IngestError {
        IngestError::Damaged { path: self.path.clone(), problem }
    }

    fn stored(&self) -> &StoredFile {
        match &self.reader {
            Reader::Stored(reader) => reader.get_ref(),
            Reader::Gzip(reader) => reader.get_ref().get_ref().get_ref(),
            Reader::Zstd(reader) => reader.get_ref().get_ref().get_ref(),
        }
    }

    fn check_ratio(&self) -> io::Result<()> {
        let most = self.stored().bytes.saturating_mul(MOST_UNPACKED_RATIO).max(FREE_UNPACKED_BYTES);
        if self.unpacked_bytes <= most {
            return Ok(());
        }
        let problem = format!("it unpacks to more than {MOST_UNPACKED_RATIO} times its size");
        Err(io::Error::new(io::ErrorKind::FileTooLarge, problem))
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Input").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if !matches!(self.reader, Reader::Stored(_)) {
            self.check_ratio()?;
        }
        if matches!(self.encoding, Encoding::Unknown) {
            let text = Utf16::told_by(self.reader.fill_buf()?);
            self.encoding = text.map_or(Encoding::AsStored, Encoding::Utf16);
        }
        let Encoding::Utf16(text) = &mut self.encoding else { return self.reader.fill_buf() };
        while text.decoded().is_empty() && !text.is_at_end() {
            let taken = text.decode(self.reader.fill_buf()?);
            self.reader.consume(taken);
            self.unpacked_bytes += taken as u64;
        }
        Ok(text.decoded())
    }

    fn consume(&mut self, count: usize) {
        match &mut self.encoding {
            Encoding::Utf16(text) => text.consume(count),
            Encoding::Unknown | Encoding::AsStored => {
                self.unpacked_bytes += count as u64;
                self.reader.consume(count);
            }
        }
    }
}

impl Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Stored(reader) => reader.fill_buf(),
            Self::Gzip(reader) => reader.fill_buf(),
            Self::Zstd(reader) => reader.fill_buf(),
        }
    }

    fn buffer(&self) -> &[u8] {
        match self {
            Self::Stored(reader) => reader.buffer(),
            Self::Gzip(reader) => reader.buffer(),
            Self::Zstd(reader) => reader.buffer(),
        }
    }

    fn consume(&mut self, count: usize) {
        match self {
            Self::Stored(reader) => reader.consume(count),
            Self::Gzip(reader) => reader.consume(count),
            Self::Zstd(reader) => reader.consume(count),
        }
    }
}

impl Read for StoredFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer);
        self.has_failed |= read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        let count = read?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        Ok(count)
    }
}
