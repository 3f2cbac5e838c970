//! What is mended, and what is left as it is.

use std::collections::BTreeMap;

use clara_lifecycle::dataset::Mend;

use super::normalize;

fn mended(text: &str) -> String {
    normalize(text, false, &mut BTreeMap::new()).unwrap_or_else(|| text.to_owned())
}

/// The text as Windows-1252 reads its UTF-8, with the control characters of Latin-1 where it has no character.
fn misread(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            0x81 | 0x8D | 0x8F | 0x90 | 0x9D => char::from(byte),
            other => encoding_rs::WINDOWS_1252.decode(&[other]).0.chars().next().unwrap(),
        })
        .collect()
}

const GOOD: [&str; 9] = [
    "Für die Änderung gemäß § 35 Abs. 1 gilt: „Größe“ – 3 m² …",
    "Ein Zeichen: „MÜ“, „Ä“ und „Ö–Ü“; 5 € für Ålesund und Łódź.",
    "Décision « À » du château, où l’âge compte.",
    "A CORAÇÃO – “IRMÔ. NÃO…",
    "România: Â» și «Â» sînt litere.",
    "Straße, Ärger, Öl, Übung, ÄÖÜß, Œuvre, naïve",
    "a – b — c ‘d’ “e” •",
    "  eingerückt\n    noch weiter\n\nAbsatz",
    "Kosten: 10 - 20 Euro\n- Punkt eins\n- Punkt zwei",
];

#[test]
fn good_text_stays_as_it_is() {
    for text in GOOD {
        let mut places = BTreeMap::new();
        assert_eq!(normalize(text, false, &mut places), None, "{text}");
        assert_eq!(places, BTreeMap::new(), "{text}");
    }
}

#[test]
fn text_that_was_decoded_wrongly_up_to_three_times_becomes_what_it_was() {
    for text in GOOD {
        let text = format!("{text} – für");
        let mut wrong = text.clone();
        for times in 1..=3 {
            wrong = misread(&wrong);
            assert_eq!(mended(&wrong), text, "{times} times: {wrong}");
        }
    }
}

#[test]
fn single_wrong_sequences_are_repaired_within_right_text() {
    for (wrong, right) in [
        ("Das Gebäude fÃ¼r alle", "Das Gebäude für alle"),
        ("Die Größe â€žgroÃŸâ€œ", "Die Größe „groß“"),
        ("Müll: Ã„nderung", "Müll: Änderung"),
        ("Maße Â§ 35, 20 Â°C", "Maße § 35, 20 °C"),
        ("übrig fÃ\u{83}Â¼r", "übrig für"),
        ("ä 5 â‚¬", "ä 5 €"),
    ] {
        assert_eq!(mended(wrong), right);
    }
}

#[test]
fn a_word_that_was_hyphenated_at_a_line_end_is_joined() {
    for (broken, joined) in [
        ("Der Verwal-\ntungsakt ist", "Der Verwaltungsakt ist"),
        ("Der Verwal- \r\n  tungsakt", "Der Verwaltungsakt"),
        ("Der Verwal\u{AD}\ntungsakt", "Der Verwaltungsakt"),
        ("Bau- \nund Planungsrecht", "Bau-\nund Planungsrecht"),
        ("Bau-\noder Planungsrecht", "Bau-\noder Planungsrecht"),
        ("Nordrhein-\nWestfalen", "Nordrhein-Westfalen"),
        ("EU-\nweite Regeln", "EU-weite Regeln"),
        ("öffentlich-\nrechtliche Pflicht", "öffentlich-rechtliche Pflicht"),
        ("die Öffentlich-\nkeit", "die Öffentlichkeit"),
        (
            "ein Vor-Ort-Termin, Kosten-nutzen und Kosten-\nnutzen",
            "ein Vor-Ort-Termin, Kosten-nutzen und Kosten-nutzen",
        ),
        ("Liste -\nweiter", "Liste -\nweiter"),
        ("Titel-\n\nabsatz", "Titel-\n\nabsatz"),
    ] {
        assert_eq!(mended(broken), joined);
    }
}

#[test]
fn blanks_line_ends_and_unseen_characters_get_one_form() {
    assert_eq!(mended("a\r\nb\rc\u{2028}d"), "a\nb\nc\nd");
    assert_eq!(mended("§\u{A0}35\u{202F}BauGB  und\tmehr   "), "§ 35 BauGB und mehr ");
    assert_eq!(mended("a\n\n\n\nb  \nc"), "a\n\nb\nc");
    assert_eq!(mended("Ge\u{AD}bäu\u{200B}de\u{0}\u{FEFF}"), "Gebäude");
    assert_eq!(mended("Geba\u{308}ude"), "Gebäude");
    assert_eq!(mended("می\u{200C}شود"), "می\u{200C}شود");
    assert_eq!(mended("seite\u{C}zwei"), "seite\nzwei");
    assert_eq!(normalize("seite\u{C}zwei", true, &mut BTreeMap::new()), None);
}

#[test]
fn what_was_mended_is_counted_by_kind() {
    let mut places = BTreeMap::new();
    normalize("fÃ¼r  die Verwal-\ntung,\u{200B} Geba\u{308}ude", false, &mut places).unwrap();
    let expected = [Mend::Encoding, Mend::Unicode, Mend::Invisible, Mend::Hyphenation, Mend::Blanks]
        .map(|mend| (mend, 1));
    assert_eq!(places, expected.into());
}

#[test]
fn a_mended_text_is_not_mended_again() {
    for text in ["a \t b\u{A0}\n\n\n c", "fÃ¼r Verwal-\ntung", "x\r\n\r\n\r\ny"] {
        let once = mended(text);
        assert_eq!(mended(&once), once);
    }
}
