//! The options of cleaning, and what they count.

use std::collections::BTreeMap;

use clara_lifecycle::{
    dataset::{ChatMessage, DropReason, Mend, MendCount, TrainingContent},
    spec::{CleanOptions, PersonalData},
};

use super::Cleaner;
use crate::{
    filter::Drop,
    source::{Document, Origin},
    words::Words,
};

const SENTENCES: &str = "Die Behörde entscheidet über den Antrag nach pflichtgemäßem Ermessen. Sie hört die Beteiligten an, bevor sie einen \
                         Bescheid erlässt, und begründet ihn schriftlich.";

fn document(content: TrainingContent) -> Document {
    Document {
        id: "d".into(),
        origin: Origin::file("d.md"),
        domain: None,
        licence: None,
        classification: None,
        content,
        metadata: BTreeMap::from([("heading".to_owned(), "GebÃ¼hren".to_owned())]),
    }
}

fn text(text: &str) -> TrainingContent {
    TrainingContent::Text { text: text.into() }
}

fn reason(options: &CleanOptions, content: &TrainingContent) -> Option<Drop> {
    let mut words = Words::default();
    words.read(content);
    Cleaner::new(options).reason_to_drop(content, &words)
}

#[test]
fn all_texts_and_the_metadata_are_mended_and_each_kind_is_counted() {
    let options = CleanOptions::default();
    let mut cleaner = Cleaner::new(&options);
    let turn = |role: &str, content: &str| ChatMessage { role: role.into(), content: content.into() };
    let messages = vec![turn("user", "Was  gilt fÃ¼r mich?"), turn("assistant", "Die Satzung\u{200B} gilt.")];
    let mut chat = document(TrainingContent::Chat { messages });
    cleaner.mend(&mut chat);
    assert_eq!(chat.content.texts(), ["Was gilt für mich?", "Die Satzung gilt."]);
    assert_eq!(chat.metadata["heading"], "Gebühren");
    let count = |places| MendCount { documents: 1, places };
    let expected = [(Mend::Encoding, count(2)), (Mend::Blanks, count(1)), (Mend::Invisible, count(1))];
    assert_eq!(cleaner.into_mended(), expected.into());
}

#[test]
fn nothing_is_mended_when_the_options_say_so() {
    let options = CleanOptions { normalize: false, boilerplate: false, ..CleanOptions::default() };
    let mut cleaner = Cleaner::new(&options);
    let mut plain = document(text("fÃ¼r  alle\n- 1 -\nText\nText\nText\nText\n- 2 -\n"));
    let before = plain.clone();
    cleaner.mend(&mut plain);
    assert_eq!(plain, before);
    assert_eq!(cleaner.into_mended(), BTreeMap::new());
}

#[test]
fn page_breaks_of_readers_never_reach_the_training_text() {
    for (normalize, boilerplate) in [(true, true), (true, false), (false, true), (false, false)] {
        let options = CleanOptions { normalize, boilerplate, ..CleanOptions::default() };
        let mut pages = document(text("Seite eins.\n\u{c}\nSeite zwei."));
        Cleaner::new(&options).mend(&mut pages);
        let mended = pages.content.texts().concat();
        assert!(!mended.contains('\u{c}'), "{normalize} {boilerplate}: {mended:?}");
        assert_eq!(mended.split_whitespace().count(), 4, "{normalize} {boilerplate}: {mended:?}");
    }
}

#[test]
fn another_language_is_refused_and_an_undecided_text_passes() {
    let options = CleanOptions { languages: vec!["de".into(), "nl".into()], ..CleanOptions::default() };
    let english = "The authority decides on the application at its due discretion and gives reasons for its decision in writing.";
    let (found, detail) = reason(&options, &text(english)).unwrap();
    assert_eq!(found, DropReason::OtherLanguage);
    assert!(
        detail.starts_with("the language is `en` (confidence ") && detail.ends_with("expected `de`, `nl`"),
        "{detail}"
    );
    assert_eq!(reason(&options, &text(SENTENCES)), None);
    assert_eq!(reason(&options, &text("See you later.")), None);
    assert_eq!(reason(&CleanOptions::default(), &text(english)), None);
}

#[test]
fn repetition_and_bad_quality_are_refused_with_what_was_found() {
    let repeated = text(&format!("{SENTENCES}\n").repeat(5));
    let (found, detail) = reason(&CleanOptions::default(), &repeated).unwrap();
    assert_eq!(found, DropReason::Repetitive);
    assert!(
        detail.contains("of the text is repeated") && detail.ends_with("expected at most 0.5"),
        "{detail}"
    );
    let lenient = CleanOptions { repetition_limit: 1.0, ..CleanOptions::default() };
    assert_eq!(reason(&lenient, &repeated), None);
    let strict = CleanOptions { min_quality: 0.5, ..CleanOptions::default() };
    assert_eq!(reason(&strict, &text(SENTENCES)), None);
    let (found, detail) =
        reason(&strict, &text("Startseite\nRathaus\nKontakt\nImpressum\nSitemap\nLogin\nSuche")).unwrap();
    assert_eq!(found, DropReason::LowQuality);
    assert!(detail.starts_with("the quality is 0.") && detail.contains("weakest part: "), "{detail}");
}

#[test]
fn personal_data_is_masked_kept_or_a_reason_to_drop() {
    let with_data = || document(text("Rückfragen an max@beispiel.de oder Tel. 030 1234567, danke."));
    let masked = CleanOptions::default();
    let mut cleaner = Cleaner::new(&masked);
    let mut given = with_data();
    assert_eq!(cleaner.guard_personal_data(&mut given), Ok(true));
    assert_eq!(given.content.texts(), ["Rückfragen an [E-MAIL] oder Tel. [TELEFON], danke."]);
    assert_eq!(cleaner.guard_personal_data(&mut given), Ok(false));
    let one = MendCount { documents: 1, places: 1 };
    assert_eq!(cleaner.into_mended(), [(Mend::Email, one), (Mend::Phone, one)].into());
    let kept = CleanOptions { personal_data: PersonalData::Keep, ..CleanOptions::default() };
    let mut given = with_data();
    assert_eq!(Cleaner::new(&kept).guard_personal_data(&mut given), Ok(false));
    assert_eq!(given, with_data());
    let refused = CleanOptions { personal_data: PersonalData::Drop, ..CleanOptions::default() };
    let drop = Cleaner::new(&refused).guard_personal_data(&mut given).unwrap_err();
    assert_eq!(drop, (DropReason::PersonalData, "holds personal data (email: 1, phone: 1)".to_owned()));
    let mut titled = document(text("Rückfragen sind schriftlich zu stellen."));
    titled.metadata.insert("heading".into(), "Rückfragen an max@beispiel.de".into());
    assert_eq!(Cleaner::new(&refused).guard_personal_data(&mut titled), Ok(false));
    assert_eq!(titled.metadata["heading"], "Rückfragen an [E-MAIL]");
}
