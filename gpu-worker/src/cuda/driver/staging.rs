//! Pinned memory through which bytes go to the device, so that a write need not wait for the work before it.

use std::collections::VecDeque;

use super::calls::{Event, PinnedMemory, Stream};
use crate::cuda::{Address, DeviceError};

/// A few rows of tokens take kilobytes; weights go in pieces, and four under way keep the bus busy.
const RING_BYTES: usize = 32 << 20;
const PIECE_BYTES: usize = RING_BYTES / 4;

/// Copies through a ring of pinned memory.
#[derive(Debug)]
pub(super) struct Staging {
    memory: PinnedMemory,
    ring: Ring<Event>,
    spare: Vec<Event>,
}

impl Staging {
    pub(super) fn new() -> Result<Self, DeviceError> {
        Ok(Self { memory: PinnedMemory::new(RING_BYTES)?, ring: Ring::new(RING_BYTES), spare: Vec::new() })
    }

    /// Starts a copy; `bytes` may change when this returns.
    pub(super) fn write(&mut self, stream: &Stream, to: Address, bytes: &[u8]) -> Result<(), DeviceError> {
        let mut to = to;
        for piece in bytes.chunks(PIECE_BYTES) {
            let offset = self.ring.place(piece.len());
            while let Some(event) = self.ring.oldest_in_the_way(offset, piece.len()) {
                event.wait()?;
                self.spare.push(event);
            }
            self.memory.fill(offset, piece);
            stream.write(to, &self.memory, offset, piece.len())?;
            let event = self.spare.pop().map_or_else(Event::new, Ok)?;
            stream.record(&event)?;
            self.ring.take(offset, piece.len(), event);
            to = to.at(piece.len());
        }
        Ok(())
    }
}

/// Which parts of a ring of bytes are in use, oldest first, each with the sign of its end.
#[derive(Debug)]
struct Ring<T> {
    bytes: usize,
    /// Where the next part may begin.
    next: usize,
    used: VecDeque<(usize, usize, T)>,
}

impl<T> Ring<T> {
    fn new(bytes: usize) -> Self {
        Self { bytes, next: 0, used: VecDeque::new() }
    }

    /// Where the next part begins: behind the last one, or at the start when it would not fit there.
    fn place(&self, length: usize) -> usize {
        if self.next + length <= self.bytes { self.next } else { 0 }
    }

    /// Gives up the oldest part as long as any part overlaps the range.
    fn oldest_in_the_way(&mut self, offset: usize, length: usize) -> Option<T> {
        let overlaps =
            |(start, bytes, _): &(usize, usize, T)| *start < offset + length && offset < start + bytes;
        if !self.used.iter().any(overlaps) {
            return None;
        }
        self.used.pop_front().map(|(_, _, sign)| sign)
    }

    fn take(&mut self, offset: usize, length: usize, sign: T) {
        self.used.push_back((offset, length, sign));
        // Rows on the device begin at multiples of 16 bytes, and copies between such places are quicker.
        self.next = (offset + length).next_multiple_of(16);
    }
}

#[cfg(test)]
mod tests;
