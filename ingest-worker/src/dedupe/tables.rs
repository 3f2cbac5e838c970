//! The numbers of documents by their texts and by the bands of their signatures.

#[cfg(test)]
mod tests;

use super::{
    signature::{PERMUTATIONS, Signature, TEXT_BYTES, band_keys, bands},
    slots::{MOST_NUMBERS, Slots},
};

/// Documents that the first tables have room for.
const FIRST_DOCUMENTS: u32 = 4096;
/// Share of the places that may be taken.
const LOAD: f64 = 0.8;

/// Tables for a number of documents that is known.
#[derive(Debug)]
pub(super) struct Tables {
    rows: usize,
    texts: Slots,
    bands: Vec<Slots>,
}

/// Tables that get more room; documents are numbered in the order in which they are added.
#[derive(Debug)]
pub(super) struct Growing {
    limit: f64,
    /// Tables with the number of their first document. All but the last are full for good.
    tables: Vec<(u64, Tables)>,
    /// Documents in the last tables, and how many they have room for.
    count: u32,
    room: u32,
    /// Most documents of one of the tables.
    most: u32,
}

impl Tables {
    /// Room for `documents`, and bands for a limit of similarity.
    pub(super) fn new(documents: u32, limit: f64) -> Self {
        let (rows, bands) = bands(limit);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of places is positive"
        )]
        let places = (f64::from(documents) / LOAD).ceil() as usize;
        Self { rows, texts: Slots::new(places), bands: (0..bands).map(|_| Slots::new(places)).collect() }
    }

    pub(super) fn insert(&mut self, signature: &Signature, number: u32) {
        self.texts.insert(text_key(signature.text), number);
        for (slots, key) in self.bands.iter_mut().zip(band_keys(&signature.least, self.rows)) {
            slots.insert(key, number);
        }
    }

    /// Bytes in memory.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.texts.bytes() + self.bands.iter().map(Slots::bytes).sum::<usize>()
    }

    /// Numbers of documents that may have this text.
    pub(super) fn same_text(&self, text: [u8; TEXT_BYTES], take: impl FnMut(u32)) {
        self.texts.find(text_key(text), take);
    }

    /// Numbers of documents that may share a band with a signature.
    pub(super) fn share_band(&self, least: &[u8; PERMUTATIONS], mut take: impl FnMut(u32)) {
        for (slots, key) in self.bands.iter().zip(band_keys(least, self.rows)) {
            slots.find(key, &mut take);
        }
    }
}

impl Growing {
    pub(super) fn new(limit: f64) -> Self {
        Self::with_most(limit, MOST_NUMBERS)
    }

    /// Tables that hold at most so many documents each.
    pub(super) fn with_most(limit: f64, most: u32) -> Self {
        let room = FIRST_DOCUMENTS.min(most);
        Self { limit, tables: vec![(0, Tables::new(room, limit))], count: 0, room, most }
    }

    pub(super) fn is_full(&self) -> bool {
        self.count == self.room
    }

    /// Adds the next document; the tables must not be full.
    pub(super) fn insert(&mut self, signature: &Signature) {
        if let Some((_, tables)) = self.tables.last_mut() {
            tables.insert(signature, self.count);
            self.count += 1;
        }
    }

    /// Empties the last tables and gives them a quarter more room, or begins new ones; returns the number of the document from which
    /// on all have to be added.
    pub(super) fn grow(&mut self) -> u64 {
        let last = self.tables.last().map(|(first, _)| *first).unwrap_or_default();
        let first = if self.count < self.most {
            // Gone before the new ones come, so that both are never in memory.
            self.tables.pop();
            self.room = (self.room + self.room / 4 + 1).min(self.most);
            last
        } else {
            self.room = FIRST_DOCUMENTS.min(self.most);
            last + u64::from(self.count)
        };
        self.count = 0;
        self.tables.push((first, Tables::new(self.room, self.limit)));
        first
    }

    pub(super) fn same_text(&self, text: [u8; TEXT_BYTES], found: &mut Vec<u64>) {
        for (first, tables) in &self.tables {
            tables.same_text(text, |number| found.push(first + u64::from(number)));
        }
    }

    pub(super) fn share_band(&self, signature: &Signature, found: &mut Vec<u64>) {
        for (first, tables) in &self.tables {
            tables.share_band(&signature.least, |number| found.push(first + u64::from(number)));
        }
    }
}

fn text_key(text: [u8; TEXT_BYTES]) -> u64 {
    u64::from_le_bytes([text[0], text[1], text[2], text[3], text[4], text[5], text[6], text[7]])
}
