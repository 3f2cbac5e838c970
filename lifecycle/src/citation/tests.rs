//! Citations as they are written.

use super::*;

fn found(text: &str) -> Vec<(&str, String)> {
    citations(text)
        .into_iter()
        .map(|citation| (text.get(citation.place).unwrap_or_default(), citation.provision))
        .collect()
}

fn one(text: &str, place: &str, provision: &str) {
    assert_eq!(found(text), [(place, provision.to_owned())], "in `{text}`");
}

#[test]
fn paragraphs_and_articles_are_found_with_their_parts() {
    one("Nach § 35 Abs. 1 Nr. 3 BauGB ist es zulässig.", "§ 35 Abs. 1 Nr. 3 BauGB", "§ 35 BauGB");
    one("Art. 20 Abs. 3 GG bindet.", "Art. 20 Abs. 3 GG", "Art. 20 GG");
    one("Artikel 14 GG", "Artikel 14 GG", "Art. 14 GG");
    one("gemäß §35a\u{a0}VwVfG, sofern", "§35a\u{a0}VwVfG", "§ 35a VwVfG");
    one("§§ 29 bis 38 BauGB", "§§ 29 bis 38 BauGB", "§ 29 BauGB");
    one("§ 45 SGB X gilt", "§ 45 SGB X", "§ 45 SGB X");
    one("§ 6 BauO NRW", "§ 6 BauO NRW", "§ 6 BauO NRW");
    one("§ 2 Abs. 1 S. 2 lit. b EStG", "§ 2 Abs. 1 S. 2 lit. b EStG", "§ 2 EStG");
}

#[test]
fn a_citation_without_a_statute_ends_at_its_last_number() {
    one("siehe § 35 Abs. 2 und die Satzung", "§ 35 Abs. 2", "§ 35");
    one("§ 34 ff. regeln", "§ 34 ff", "§ 34");
}

#[test]
fn words_that_only_look_like_citations_are_left() {
    for text in ["", "§", "§ x", "Art und Weise", "Artikel ohne Zahl", "Arten 3 GG", "die Kunstart. 5 GG"] {
        assert_eq!(found(text), [], "in `{text}`");
    }
}

#[test]
fn several_citations_stand_in_order() {
    let provisions: Vec<_> =
        found("§ 35 BauGB i.V.m. § 30 BauGB; Art. 3 GG").into_iter().map(|(_, of)| of).collect();
    assert_eq!(provisions, ["§ 35 BauGB", "§ 30 BauGB", "Art. 3 GG"]);
}
