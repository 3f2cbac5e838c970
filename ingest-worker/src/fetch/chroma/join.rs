//! Puts the text of a document together from chunks that may overlap.

#[cfg(test)]
mod tests;

/// The least overlap that counts without offsets, in bytes: shorter ones may be chance.
const LEAST_OVERLAP: usize = 24;

/// One chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) text: &'a str,
    /// Where it begins in the document, in characters.
    pub(super) start: Option<u64>,
}

/// The text of chunks in order. What a chunk repeats of the one before is left out: as the offsets tell where the texts agree with
/// them, else the longest end of the one that begins the other. Chunks that neither touch nor overlap stand on lines of their own.
pub(super) fn join(parts: &[Part<'_>]) -> String {
    let mut text = String::new();
    let mut end = None::<u64>;
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            if let Some(bytes) = repeated(&text, *part, end) {
                text.push_str(part.text.get(bytes..).unwrap_or_default());
            } else {
                text.push('\n');
                text.push_str(part.text);
            }
        } else {
            text.push_str(part.text);
        }
        end = part.start.map(|start| start + part.text.chars().count() as u64);
    }
    text
}

/// How many bytes of a chunk repeat the text before; `None` when it neither touches nor overlaps.
fn repeated(text: &str, part: Part<'_>, end: Option<u64>) -> Option<usize> {
    if let (Some(end), Some(start)) = (end, part.start)
        && start <= end
    {
        let chars = usize::try_from(end - start).ok()?;
        let bytes = part.text.char_indices().nth(chars).map_or(part.text.len(), |(at, _)| at);
        // A chunk that lies within the one before ends earlier than that.
        if part.text.get(..bytes).is_some_and(|head| text.ends_with(head)) {
            return Some(bytes);
        }
    }
    let longest = part.text.len().min(text.len());
    let mut lengths = (LEAST_OVERLAP..=longest).rev().filter(|length| part.text.is_char_boundary(*length));
    lengths.find(|length| part.text.get(..*length).is_some_and(|head| text.ends_with(head)))
}
