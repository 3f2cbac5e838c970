//! A table from keys to numbers that spends four bytes per place and keeps no key.

#[cfg(test)]
mod tests;

/// Numbers are below this; the rest of a place tells keys apart.
pub(super) const MOST_NUMBERS: u32 = (1 << 24) - 1;
/// At most so many numbers are given for a key: texts of one mould would otherwise be compared all with all.
const MOST_PER_KEY: usize = 64;
/// Places looked at for a key, at most.
const MOST_STEPS: usize = 4096;

/// Numbers by key, in an open table of fixed size. A key may give numbers of others, one of 256 times and neighbour: the caller compares
/// what they stand for.
#[derive(Debug)]
pub(super) struct Slots(Vec<u32>);

impl Slots {
    /// A table with so many places; a quarter of them should stay free.
    pub(super) fn new(places: usize) -> Self {
        Self(vec![0; places.max(8)])
    }

    /// Bytes in memory.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.0.len() * size_of::<u32>()
    }

    /// Adds a number for a key, unless the key has enough.
    pub(super) fn insert(&mut self, key: u64, number: u32) {
        let Some(free) = self.walk(key, |_| {}) else { return };
        if let Some(place) = self.0.get_mut(free) {
            *place = (number + 1) << 8 | tag(key);
        }
    }

    /// Passes on the numbers of a key.
    pub(super) fn find(&self, key: u64, take: impl FnMut(u32)) {
        self.walk(key, take);
    }

    /// Passes on the numbers of a key and gives the free place after them, if there is room for another.
    fn walk(&self, key: u64, mut take: impl FnMut(u32)) -> Option<usize> {
        let places = self.0.len();
        let mut found = 0;
        let mut at = start(key, places);
        for _ in 0..MOST_STEPS.min(places) {
            let entry = self.0.get(at).copied().unwrap_or_default();
            if entry == 0 {
                return Some(at);
            }
            if entry & 0xFF == tag(key) {
                take((entry >> 8) - 1);
                found += 1;
                if found == MOST_PER_KEY {
                    return None;
                }
            }
            at = if at + 1 == places { 0 } else { at + 1 };
        }
        None
    }
}

/// The first place of a key, from its upper bits.
#[expect(clippy::cast_possible_truncation, reason = "the product is below the number of places")]
fn start(key: u64, places: usize) -> usize {
    ((u128::from(key) * places as u128) >> 64) as usize
}

/// The part of a key that stays in its place, from its lower bits.
fn tag(key: u64) -> u32 {
    (key & 0xFF) as u32
}
