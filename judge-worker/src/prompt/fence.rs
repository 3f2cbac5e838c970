//! The fence around a candidate's answer: the answer cannot close it, nor speak as another turn.

use clara_lifecycle::{digest::Digest, golden::GoldenSample};

use super::text::Texts;

/// What would end a fence or open another turn of a chat template, and what stands in its place.
const LOOK_ALIKES: [(&str, &str); 11] = [
    ("<<<", "‹‹‹"),
    (">>>", "›››"),
    ("<|", "‹|"),
    ("|>", "|›"),
    ("</s>", "‹/s›"),
    ("[INST]", "[ INST ]"),
    ("[/INST]", "[ /INST ]"),
    ("<<SYS>>", "‹SYS›"),
    ("<</SYS>>", "‹/SYS›"),
    ("<start_of_turn>", "‹start_of_turn›"),
    ("<end_of_turn>", "‹end_of_turn›"),
];

/// The answer between two marks under a title, as a turn of its own.
///
/// Their nonce comes from the digest of question and answer: an answer that holds its own digest cannot be written, and
/// asking twice gives the same text, so that a verdict can be found again in the cache. A random nonce would cost every
/// hit and add nothing, since no mark survives in the answer, whatever its nonce.
pub(super) fn fenced(texts: &Texts, title: &str, sample: &GoldenSample, answer: &str) -> String {
    let parts = [("prompt", sample.prompt.as_bytes()), ("answer", answer.as_bytes())];
    let digest = Digest::of_parts(parts);
    let nonce = digest.short();
    let shown = neutralised(answer);
    let shown = if shown.trim().is_empty() { texts.empty } else { shown.trim() };
    format!("{title}:\n<<<{} {nonce}>>>\n{shown}\n<<<{} {nonce}>>>", texts.begin, texts.end)
}

/// Whether something in the answer had to be taken out or replaced, byte order marks and line ends aside.
pub(crate) fn needs_neutralising(answer: &str) -> bool {
    let usual = answer.replace(['\u{FEFF}', '\u{00AD}', '\r'], "");
    neutralised(&usual) != usual
}

/// The text without invisible characters, and with look-alikes of marks replaced.
pub(crate) fn neutralised(answer: &str) -> String {
    let visible: String = answer.chars().filter(|character| !is_invisible(*character)).collect();
    LOOK_ALIKES.iter().fold(visible, |text, (from, to)| text.replace(from, to))
}

/// Control characters but line breaks and tabs, zero-width characters, and marks of writing direction.
fn is_invisible(character: char) -> bool {
    let control = character.is_control() && !matches!(character, '\n' | '\t');
    control
        || matches!(
            character,
            '\u{00AD}'
                | '\u{200B}'..='\u{200F}'
                | '\u{202A}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FE00}'..='\u{FE0F}'
                | '\u{FEFF}'
                | '\u{E0000}'..='\u{E01EF}'
        )
}
