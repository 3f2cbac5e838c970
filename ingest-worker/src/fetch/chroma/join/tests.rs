//! Chunks put together again.

use super::{Part, join};

const TEXT: &str = "(1) Die Baugenehmigung ist zu erteilen, wenn dem Bauvorhaben öffentlich-rechtliche Vorschriften nicht entgegenstehen. \
                    (2) Die Bauaufsichtsbehörde darf den Bauantrag auch ablehnen, wenn das Bauvorhaben gegen sonstige Vorschriften verstößt.";

/// Chunks of `size` characters that overlap by `overlap`.
fn cut(text: &str, size: usize, overlap: usize) -> Vec<(String, u64)> {
    let chars: Vec<char> = text.chars().collect();
    let starts = (0..chars.len())
        .step_by(size - overlap)
        .take_while(|start| *start == 0 || start + overlap < chars.len());
    starts.map(|start| (chars[start..chars.len().min(start + size)].iter().collect(), start as u64)).collect()
}

fn joined(chunks: &[(String, u64)], with_offsets: bool) -> String {
    let parts: Vec<Part<'_>> =
        chunks.iter().map(|(text, start)| Part { text, start: with_offsets.then_some(*start) }).collect();
    join(&parts)
}

#[test]
fn chunks_with_offsets_give_the_text_they_were_cut_from() {
    for (size, overlap) in [(50, 0), (50, 10), (31, 30), (400, 100), (7, 3)] {
        assert_eq!(
            joined(&cut(TEXT, size, overlap), true),
            TEXT,
            "chunks of {size} that overlap by {overlap}"
        );
    }
}

#[test]
fn overlaps_are_found_without_offsets() {
    for (size, overlap) in [(80, 40), (60, 30), (100, 50)] {
        assert_eq!(joined(&cut(TEXT, size, overlap), false), TEXT);
    }
}

#[test]
fn chunks_that_do_not_touch_stand_on_lines_of_their_own() {
    let parts = [
        Part { text: "eins", start: Some(0) },
        Part { text: "zwei", start: Some(5) },
        Part { text: "drei", start: None },
    ];
    assert_eq!(join(&parts), "eins\nzwei\ndrei");
    assert_eq!(join(&[Part { text: "Bau", start: None }, Part { text: "Bau", start: None }]), "Bau\nBau");
}

#[test]
fn offsets_that_the_texts_contradict_take_nothing_away() {
    let parts = [Part { text: "eins zwei", start: Some(0) }, Part { text: "drei vier", start: Some(4) }];
    assert_eq!(join(&parts), "eins zwei\ndrei vier");
}
