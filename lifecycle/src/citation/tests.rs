//! Citations as lawyers write them.

use super::{Cited, RequiredCitation};
use crate::statistics::SplitMix64;

fn holds(text: &str, required: &str) -> bool {
    Cited::of(text).holds(&required.parse::<RequiredCitation>().unwrap())
}

fn provisions(text: &str) -> Vec<String> {
    Cited::of(text).citations().iter().map(ToString::to_string).collect()
}

#[test]
fn blanks_dots_and_spelled_out_words_do_not_matter() {
    let spellings = [
        "Nach § 35 Abs. 1 Nr. 1 BauGB ist es zulässig.",
        "Nach §\u{A0}35 Abs.\u{202F}1 Nr.\u{A0}1 BauGB ist es zulässig.",
        "Nach §35 Absatz 1 Nummer 1 BauGB",
        "§ 35 Abs.1 Nr.1 des Baugesetzbuchs",
        "Paragraf 35 Absatz 1 Satz 2 Nr. 1 des Baugesetzbuches",
        "(§ 35 I Nr. 1 BauGB)",
        "§ 35 I 1 Nr. 1 BauGB",
        "§\n35 Abs. 1 Nr. 1 und 2 BauGB",
        "§ 35 Abs. 1 Nr. 1, Abs. 3 BauGB",
        "§ 3\u{200B}5 Abs. 1 Nr. 1 Bau\u{AD}GB",
    ];
    for text in spellings {
        assert!(holds(text, "§ 35 Abs. 1 Nr. 1 BauGB"), "{text}: {:?}", Cited::of(text));
        assert!(holds(text, "§ 35 BauGB") && holds(text, "BauGB"), "{text}");
    }
}

#[test]
fn another_section_paragraph_or_statute_is_not_enough() {
    for text in [
        "§ 34 Abs. 1 Nr. 1 BauGB",
        "§ 35a Abs. 1 Nr. 1 BauGB",
        "§ 35 Abs. 2 Nr. 1 BauGB",
        "§ 35 Abs. 1 Nr. 2 BauGB",
        "§ 35 Abs. 1 BauGB",
        "§ 35 Abs. 1 Nr. 1 BauNVO",
        "§ 35 Abs. 1 Nr. 1 des Gesetzes",
        "Art. 35 Abs. 1 Nr. 1 BauGB",
        "35 Abs. 1 Nr. 1 BauGB",
        "",
    ] {
        assert!(!holds(text, "§ 35 Abs. 1 Nr. 1 BauGB"), "{text}: {:?}", Cited::of(text));
    }
}

#[test]
fn several_provisions_may_share_a_sign_and_a_statute() {
    assert_eq!(provisions("§§ 34, 35 BauGB"), ["§ 34 BauGB", "§ 35 BauGB"]);
    assert_eq!(provisions("§§ 34 und 35a BauGB"), ["§ 34 BauGB", "§ 35a BauGB"]);
    assert_eq!(provisions("§§ 30 bis 33 BauGB").len(), 4);
    assert_eq!(provisions("§§ 30–33 BauGB").len(), 4);
    let text = "§§ 34 Abs. 1, 35 Abs. 2 und 36 BauGB";
    assert_eq!(provisions(text), ["§ 34 BauGB", "§ 35 BauGB", "§ 36 BauGB"]);
    assert!(holds(text, "§ 35 Abs. 2 BauGB") && !holds(text, "§ 36 Abs. 2 BauGB"));
    assert_eq!(provisions("§§ 29 ff. BauGB"), ["§ 29 BauGB"]);
    assert!(holds("§ 9 Abs. 1 Nr. 1 bis 5 BauGB", "§ 9 Abs. 1 Nr. 4 BauGB"));
    assert!(holds("Art. 1 Abs. 1, Art. 20 Abs. 3 GG", "Art. 1 Abs. 1 GG"));
}

#[test]
fn a_statute_that_is_named_once_holds_for_its_neighbours() {
    let text = "Nach § 35 Abs. 1 BauGB ist es privilegiert; § 35 Abs. 3 zählt die Belange auf.";
    assert!(holds(text, "§ 35 Abs. 3 BauGB"));
    assert!(holds("§ 35 Abs. 1 i. V. m. § 36 BauGB", "§ 35 Abs. 1 BauGB"));
    assert!(!holds("§ 35 Abs. 3 zählt die Belange auf.", "§ 35 Abs. 3 BauGB"));
    assert!(holds("§ 35 Abs. 3 zählt die Belange auf.", "§ 35 Abs. 3"));
}

#[test]
fn articles_and_numbered_books_are_told_apart() {
    assert!(holds("Art. 14 Abs. 1 Satz 2 des Grundgesetzes", "Art. 14 Abs. 1 S. 2 GG"));
    assert!(holds("Artikel 14 GG", "Art. 14 GG") && holds("Art 14 I GG", "Art. 14 Abs. 1 GG"));
    assert!(holds("§ 7 SGB II", "§ 7 SGB II") && !holds("§ 7 SGB XII", "§ 7 SGB II"));
    assert!(holds("§ 433 des Bürgerlichen Gesetzbuchs", "§ 433 BGB"));
    assert!(holds("§ 433 des Bu\u{308}rgerlichen Gesetzbuchs", "§ 433 BGB"));
    assert!(holds("§ 4 Nr. 1 Buchst. a UStG", "§ 4 Nr. 1 lit. a UStG"));
    assert!(!holds("§ 4 Nr. 1 Buchst. b UStG", "§ 4 Nr. 1 lit. a UStG"));
}

#[test]
fn a_requirement_names_provisions_or_one_statute() {
    for text in ["§ 35 BauGB", "Art. 14", "BauGB", "Baugesetzbuch", "§§ 34, 35 BauGB"] {
        assert!(text.parse::<RequiredCitation>().is_ok(), "{text}");
    }
    for text in ["", "§", "die Gemeinde", "35 Abs. 1", "BauGB oder BauNVO"] {
        assert!(text.parse::<RequiredCitation>().is_err(), "{text}");
    }
    let message = "die Gemeinde".parse::<RequiredCitation>().unwrap_err().to_string();
    assert!(message.starts_with("`die Gemeinde` is no citation"), "{message}");
}

#[test]
fn ranges_cover_the_citation_in_the_text() {
    let text = "Vgl. § 35 Abs. 1 BauGB, ständige Rechtsprechung.";
    let cited = Cited::of(text);
    assert_eq!(&text[cited.citations()[0].place.clone()], "§ 35 Abs. 1 BauGB");
    let text = "§§ 34, 35 BauGB und Art. 14 GG.";
    let ranges: Vec<_> =
        Cited::of(text).citations().iter().map(|citation| &text[citation.place.clone()]).collect();
    assert_eq!(ranges, ["§§ 34, 35 BauGB", "§§ 34, 35 BauGB", "Art. 14 GG"]);
}

#[test]
fn any_text_is_read_and_every_range_lies_within_it() {
    const PIECES: [&str; 20] = [
        "§",
        "§§",
        "Art.",
        "35",
        "35a",
        "Abs.",
        "1",
        "und",
        "bis",
        "–",
        "BauGB",
        "GG",
        "SGB",
        "II",
        "Nr.",
        "lit. a",
        "\u{A0}",
        "\u{200B}",
        "ä\u{308}",
        "…",
    ];
    let seed = 20_261_126;
    let mut random = SplitMix64::new(seed);
    for _ in 0..2000 {
        let pieces = (0..random.below(12)).map(|_| PIECES[random.below(PIECES.len())]).collect::<Vec<_>>();
        let text = pieces.join(if random.below(2) == 0 { " " } else { "" });
        for citation in Cited::of(&text).citations() {
            let cited = text.get(citation.place.clone());
            let holds_a_number = cited.is_some_and(|cited| cited.contains(|c: char| c.is_ascii_digit()));
            assert!(holds_a_number && !citation.number.is_empty(), "seed {seed}: {text:?}");
        }
    }
}

/// Each place once, with the first provision that is cited there.
fn places(text: &str) -> Vec<(&str, String)> {
    let cited = Cited::of(text);
    let mut places: Vec<_> =
        cited.citations().iter().map(|of| (&text[of.place.clone()], of.provision())).collect();
    places.dedup_by_key(|(place, _)| *place);
    places
}

#[test]
fn places_hold_the_parts_and_the_statute() {
    let cases = [
        ("Nach § 35 Abs. 1 Nr. 3 BauGB ist es zulässig.", "§ 35 Abs. 1 Nr. 3 BauGB", "§ 35 BauGB"),
        ("Art. 20 Abs. 3 GG bindet.", "Art. 20 Abs. 3 GG", "Art. 20 GG"),
        ("Artikel 14 GG", "Artikel 14 GG", "Art. 14 GG"),
        ("gemäß §35a\u{a0}VwVfG, sofern", "§35a\u{a0}VwVfG", "§ 35a VwVfG"),
        ("§§ 29 bis 38 BauGB", "§§ 29 bis 38 BauGB", "§ 29 BauGB"),
        ("§ 45 SGB X gilt", "§ 45 SGB X", "§ 45 SGB X"),
        ("§ 6 BauO NRW", "§ 6 BauO NRW", "§ 6 BauO NRW"),
        ("§ 2 Abs. 1 S. 2 lit. b EStG", "§ 2 Abs. 1 S. 2 lit. b EStG", "§ 2 EStG"),
        ("siehe § 35 Abs. 2 und die Satzung", "§ 35 Abs. 2", "§ 35"),
        ("§ 34 ff. regeln", "§ 34 ff.", "§ 34"),
    ];
    for (text, place, provision) in cases {
        assert_eq!(places(text), [(place, provision.to_owned())], "in `{text}`");
    }
    let several: Vec<_> =
        places("§ 35 BauGB i.V.m. § 30 BauGB; Art. 3 GG").into_iter().map(|(_, of)| of).collect();
    assert_eq!(several, ["§ 35 BauGB", "§ 30 BauGB", "Art. 3 GG"]);
}

#[test]
fn words_that_only_look_like_citations_are_left() {
    for text in ["", "§", "§ x", "Art und Weise", "Artikel ohne Zahl", "Arten 3 GG", "die Kunstart. 5 GG"] {
        assert_eq!(places(text), [], "in `{text}`");
    }
}
