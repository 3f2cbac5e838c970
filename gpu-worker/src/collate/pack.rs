//! Gathers documents into rows.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// Fills rows of at most `limit` tokens best-fit, longest documents first.
///
/// Documents inside a row and rows among each other keep the order of the input, so that equal input gives equal rows.
pub(super) fn best_fit(lengths: &[usize], limit: usize) -> Vec<Vec<usize>> {
    let mut by_length: Vec<(usize, usize)> = lengths.iter().copied().enumerate().collect();
    by_length.sort_by_key(|(index, length)| (Reverse(*length), *index));
    let mut rows: Vec<Vec<usize>> = Vec::new();
    let mut rows_by_room: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (index, length) in by_length {
        let fitting =
            rows_by_room.range(length..).next().and_then(|(room, open)| Some((*room, *open.first()?)));
        let (room, row) = fitting.unwrap_or((limit, rows.len()));
        if let Some(open) = rows_by_room.get_mut(&room) {
            open.remove(&row);
            if open.is_empty() {
                rows_by_room.remove(&room);
            }
        }
        match rows.get_mut(row) {
            Some(documents) => documents.push(index),
            None => rows.push(vec![index]),
        }
        rows_by_room.entry(room.saturating_sub(length)).or_default().insert(row);
    }
    for documents in &mut rows {
        documents.sort_unstable();
    }
    rows.sort();
    rows
}
