//! Sentence ends in legal German, and what must hold for every cut.

use super::{chunks, sentences};

fn trimmed(text: &str) -> Vec<&str> {
    sentences(text).into_iter().map(str::trim).collect()
}

fn without_blanks(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_whitespace()).collect()
}

#[test]
fn abbreviations_and_references_do_not_end_a_sentence() {
    for sentence in [
        "Nach § 35 Abs. 1 Nr. 3 BauGB ist das zulässig.",
        "Vgl. BVerwG, Urt. v. 12. März 2004, Az. 4 C 1.03, S. 12 ff. Randnummer 5.",
        "Das gilt z. B. Bauherren gegenüber, d. h. Privaten.",
        "Maßgeblich ist § 9 Abs. 1 Satz 1 i. V. m. Art. 14 GG.",
        "Am 3. Oktober 1990 trat der Beitritt in Kraft.",
        "Siehe Abschnitt II. Teil B des Gesetzes.",
        "Die Verordnung (vgl. Anl. 2) gilt u.a. Nr. 5 wegen.",
    ] {
        assert_eq!(trimmed(sentence), [sentence]);
    }
}

#[test]
fn full_stops_question_and_exclamation_marks_end_sentences() {
    let text = "Der Antrag ist zulässig. Ist er begründet? Ja! „Er ist es.“ Das gilt seit 2024. (2) Im Übrigen nicht.";
    assert_eq!(
        trimmed(text),
        [
            "Der Antrag ist zulässig.",
            "Ist er begründet?",
            "Ja!",
            "„Er ist es.“",
            "Das gilt seit 2024.",
            "(2) Im Übrigen nicht."
        ]
    );
}

#[test]
fn a_list_within_a_sentence_stays_one_sentence() {
    let text = "Dieses Gesetz gilt für\n\n1. Behörden des Bundes,\n\n2. Länder und\n\n3. Gemeinden,\n\nsoweit nichts anderes gilt.";
    assert_eq!(trimmed(text), [text]);
}

#[test]
fn a_heading_ends_at_its_blank_line() {
    assert_eq!(trimmed("# Bauantrag\n\nEr ist schriftlich."), ["# Bauantrag", "Er ist schriftlich."]);
}

#[test]
fn a_short_text_is_one_chunk() {
    assert_eq!(chunks("  Ein Satz. Noch einer. ", 100), ["Ein Satz. Noch einer."]);
    assert!(chunks(" \n ", 100).is_empty());
}

#[test]
fn chunks_end_with_sentences_and_are_of_similar_length() {
    let text = "Der Bauantrag ist schriftlich einzureichen. ".repeat(60);
    let chunks = chunks(&text, 1_000);
    assert_eq!(chunks.len(), 3);
    for chunk in chunks {
        assert!(chunk.ends_with('.') && (800..=1_000).contains(&chunk.chars().count()), "{}", chunk.len());
    }
}

#[test]
fn an_endless_sentence_is_cut_at_clauses_then_words_then_letters() {
    let clauses = "der Bauherr, der Nachbar und die Gemeinde, ".repeat(20);
    assert!(chunks(&clauses, 100).iter().all(|chunk| chunk.ends_with(',')));
    let words = "wort ".repeat(200);
    assert!(chunks(&words, 100).iter().all(|chunk| chunk.ends_with("wort")));
    assert_eq!(
        chunks(&"ä".repeat(250), 100).iter().map(|chunk| chunk.chars().count()).collect::<Vec<_>>(),
        [100, 100, 50]
    );
}

#[test]
fn no_chunk_is_too_long_and_no_letter_is_lost() {
    let parts = [
        "§ 35 Abs. 1.",
        " ",
        "Straße\n\n",
        "ÄÖÜ? ",
        "z. B. ",
        "Wort",
        "; ",
        "🏛 ",
        "Satz. ",
        "\u{a0}",
        ")",
        "„",
    ];
    for seed in 0..300_usize {
        let mut state = seed.wrapping_mul(2_654_435_761) + 1;
        let text: String = (0..seed)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                parts[(state >> 33) % parts.len()]
            })
            .collect();
        for limit in [1, 7, 40, 200] {
            let chunks = chunks(&text, limit);
            assert!(
                chunks.iter().all(|chunk| (1..=limit).contains(&chunk.chars().count())),
                "seed {seed}, limit {limit}"
            );
            assert_eq!(without_blanks(&chunks.concat()), without_blanks(&text), "seed {seed}, limit {limit}");
        }
    }
}
