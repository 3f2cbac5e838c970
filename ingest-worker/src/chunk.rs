//! Cuts long running texts at the ends of German sentences.

#[cfg(test)]
mod tests;

/// Words that end in a full stop without ending a sentence, in lower case and without it. Single letters,
/// numbers of up to three digits and Roman numerals need no entry.
const ABBREVIATIONS: &[&str] = &[
    "abb", "abl", "abs", "abschn", "alt", "anh", "anl", "anm", "art", "aufl", "az", "bd", "begr", "beschl",
    "betr", "bgbl", "bspw", "buchst", "bzgl", "bzw", "ca", "dez", "dgl", "dr", "ebd", "einschl", "entspr",
    "etc", "evtl", "exkl", "ff", "fn", "gbl", "gem", "ggf", "ggfs", "grds", "gvbl", "halbs", "hr", "hrsg",
    "hs", "inkl", "insb", "insbes", "jan", "kap", "lfd", "lit", "max", "min", "mind", "mio", "mrd", "nov",
    "nr", "nrn", "okt", "prof", "rd", "rn", "rz", "sept", "sog", "str", "tab", "tel", "tsd", "urt", "usw",
    "var", "verf", "vgl", "vorbem", "ziff", "zit", "zzgl",
];

/// What may close a sentence after its full stop.
const CLOSERS: &[char] = &['"', '\'', '“', '”', '‘', '’', '»', '«', '›', '‹', ')', ']', '*', '_'];

/// Where a sentence longer than a chunk is cut, best first.
const INNER_BORDERS: &[&str] = &["\n\n", "\n", "; ", ", ", " "];

/// The text in chunks of at most `limit` characters, cut at sentence ends and of similar length.
///
/// A single sentence longer than `limit` is cut at a line, clause or word border. Nothing is lost but the
/// blanks at the cuts.
pub(crate) fn chunks(text: &str, limit: usize) -> Vec<&str> {
    let text = text.trim();
    let limit = limit.max(1);
    let pieces: Vec<&str> =
        sentences(text).into_iter().flat_map(|sentence| pieces(sentence, limit)).collect();
    let mut remaining = text.chars().count();
    let mut rest = text;
    let mut bytes = 0;
    let mut length = 0;
    let mut chunks = Vec::new();
    for piece in pieces {
        let piece_length = piece.chars().count();
        if length > 0 && closes(length, piece_length, fair_length(remaining, limit), limit) {
            let (chunk, after) = rest.split_at(bytes);
            chunks.push(chunk.trim());
            rest = after;
            remaining -= length;
            (bytes, length) = (0, 0);
        }
        bytes += piece.len();
        length += piece_length;
    }
    chunks.push(rest.trim());
    chunks.retain(|chunk| !chunk.is_empty());
    chunks
}

/// The length that makes the chunks of the remaining text equally long.
fn fair_length(remaining: usize, limit: usize) -> usize {
    remaining.div_ceil(remaining.div_ceil(limit).max(1))
}

/// Whether a chunk of `length` ends before a piece: the piece does not fit, or the chunk is nearer to the
/// fair length without it.
fn closes(length: usize, piece: usize, fair: usize, limit: usize) -> bool {
    let together = length + piece;
    together > limit || (together > fair && together - fair > fair.saturating_sub(length))
}

/// The sentences of a text, each with the blanks that follow it; together they are the text.
fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let (mut rest, mut searched) = (text, 0);
    while let Some(gap_start) = rest.get(searched..).and_then(|tail| tail.find(char::is_whitespace)) {
        let (before, tail) = rest.split_at(searched + gap_start);
        let after = tail.trim_start();
        let (gap, _) = tail.split_at(tail.len() - after.len());
        let end = before.len() + gap.len();
        if is_border(before, gap, after) {
            let (sentence, remainder) = rest.split_at(end);
            sentences.push(sentence);
            (rest, searched) = (remainder, 0);
        } else {
            searched = end;
        }
    }
    if !rest.is_empty() {
        sentences.push(rest);
    }
    sentences
}

fn is_border(before: &str, gap: &str, after: &str) -> bool {
    if after.chars().next().is_none_or(char::is_lowercase) {
        return false;
    }
    let bare = before.trim_end_matches(CLOSERS);
    match bare.chars().next_back() {
        Some('!' | '?' | '…') => true,
        Some('.') => ends_sentence(last_word(bare)),
        Some(',' | ';' | ':' | '–' | '-') | None => false,
        Some(_) => {
            is_blank_line(gap) && !is_list_item(after) && !matches!(last_word(bare), "und" | "oder" | "sowie")
        }
    }
}

fn is_blank_line(gap: &str) -> bool {
    gap.matches('\n').count() > 1
}

/// Whether a paragraph is an item of a numbered list, which continues the sentence before it.
fn is_list_item(paragraph: &str) -> bool {
    paragraph.starts_with(|letter: char| letter.is_ascii_digit())
}

fn last_word(text: &str) -> &str {
    text.rsplit(char::is_whitespace).next().unwrap_or_default()
}

/// Whether a word with a full stop at its end ends a sentence: `BauGB.` does, `Abs.` and `3.` do not.
fn ends_sentence(word: &str) -> bool {
    let bare = word.trim_end_matches('.').trim_start_matches(|letter: char| !letter.is_alphanumeric());
    let last = bare.rsplit(['.', '(', '/', '§']).next().unwrap_or_default();
    let length = last.chars().count();
    if last.chars().all(|letter| letter.is_ascii_digit()) {
        return length == 0 || length > 3;
    }
    let is_roman = last.chars().all(|letter| matches!(letter, 'I' | 'V' | 'X' | 'L' | 'C'));
    length > 1 && !is_roman && !ABBREVIATIONS.contains(&last.to_lowercase().as_str())
}

/// A sentence in pieces of at most `limit` characters.
fn pieces(sentence: &str, limit: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = sentence;
    while let Some((at, _)) = rest.char_indices().nth(limit) {
        let (window, _) = rest.split_at(at);
        let (piece, remainder) = rest.split_at(inner_border(window));
        pieces.push(piece);
        rest = remainder;
    }
    pieces.push(rest);
    pieces
}

/// The best place to cut within `window`, in bytes; its end when its second half holds no border.
fn inner_border(window: &str) -> usize {
    let late_enough = |cut: &usize| *cut > window.len() / 2;
    INNER_BORDERS
        .iter()
        .filter_map(|border| window.rfind(border).map(|at| at + border.len()))
        .find(late_enough)
        .unwrap_or(window.len())
}
