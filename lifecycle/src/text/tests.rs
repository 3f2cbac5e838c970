//! Spellings that must become one.

use unicode_normalization::UnicodeNormalization as _;

use super::{collapse, fold, is_composed, is_invisible, jaccard, visible, words};

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

#[test]
fn what_no_reader_sees_is_left_out_and_what_shapes_the_text_stays() {
    assert_eq!(visible("Bau\u{200B}G\u{AD}B\u{FEFF}\u{E0041}"), "BauGB");
    assert_eq!(visible("a\n\tb\u{A0}ä"), "a\n\tb\u{A0}ä");
    assert!(is_invisible('\u{0}') && !is_invisible(' '));
}

#[test]
fn the_share_of_common_numbers_is_0_where_it_cannot_reach_the_least() {
    assert!((jaccard(&[1, 2, 3, 4], &[2, 3, 4, 5], 0.5) - 0.6).abs() < 1e-9);
    assert!((jaccard(&[1, 2, 3, 4], &[1, 2, 3, 4, 5], 0.8) - 0.8).abs() < 1e-9);
    assert!(jaccard(&[1, 2], &[1, 2, 3], 0.8).abs() < 1e-9);
    assert!(jaccard(&[], &[], 0.8).abs() < 1e-9);
}

#[test]
fn the_short_way_changes_nothing() {
    let letters = ('\0'..'\u{300}').chain('\u{2002}'..='\u{20CF}');
    for letter in letters {
        let text = format!("a{letter}e{letter}");
        assert!(is_composed(&text));
        assert_eq!(text.nfc().collect::<String>(), text, "{letter:?}");
    }
    assert!(!is_composed("u\u{308}") && !is_composed("\u{2000}") && !is_composed("\u{212B}"));
    assert_eq!(fold("GRÖSSE – „Straße“ 50 €"), "groesse – „strasse“ 50 €");
    assert_eq!(fold("Gro\u{308}\u{df}e"), "groesse");
}
