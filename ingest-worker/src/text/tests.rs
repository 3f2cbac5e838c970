//! Spellings that must become one.

use super::{collapse, fold, words};

#[test]
fn umlauts_meet_their_transcription_in_either_normal_form() {
    for spelling in ["GEBÄUDE", "Gebäude", "Geba\u{308}ude", "gebaeude"] {
        assert_eq!(fold(spelling), "gebaeude", "{spelling}");
    }
    assert_eq!(fold("Straße"), fold("STRASSE"));
    assert_eq!(fold("STRAẞE"), fold("strasse"));
}

#[test]
fn words_leave_punctuation_and_section_signs_out() {
    let folded = fold("§ 35 Abs. 1 BauGB: „Außenbereich“");
    assert_eq!(words(&folded).collect::<Vec<_>>(), ["35", "abs", "1", "baugb", "aussenbereich"]);
}

#[test]
fn blanks_and_case_do_not_matter_but_punctuation_does() {
    assert_eq!(collapse(" Der\n\n Bau\t"), collapse("der bau"));
    assert_ne!(collapse("der bau."), collapse("der bau"));
}
