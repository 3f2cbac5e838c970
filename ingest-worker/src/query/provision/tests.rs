//! Which documents are a provision, and which cite it.

use clara_lifecycle::query::Provision;

use super::{Provisions, Relation};
use crate::query::tests::document;

fn relation(query: &str, id: &str, text: &str, metadata: &[(&str, &str)]) -> Option<Relation> {
    let provision = Provision::parse(query).unwrap();
    Provisions::of(&document(id, text, metadata), std::slice::from_ref(&provision)).relation(&provision)
}

#[test]
fn a_section_is_known_by_its_metadata_or_its_id() {
    let text = "Ein Text ohne Fundstelle.";
    for (id, metadata) in [
        ("x", &[("law", "BauGB"), ("section", "§ 35")][..]),
        ("x", &[("law", "BBauG"), ("law_title", "Baugesetzbuch"), ("section", "§ 35")]),
        ("x", &[("law", "BauGB"), ("paragraph", "35")]),
        ("baugb-35", &[]),
    ] {
        assert_eq!(relation("§ 35 BauGB", id, text, metadata), Some(Relation::Is), "{id} {metadata:?}");
    }
    assert_eq!(relation("Art. 14 GG", "gg-art14", text, &[]), Some(Relation::Is));
    assert_eq!(relation("§ 14 GG", "gg-art14", text, &[]), None);
    assert_eq!(
        relation("§ 5 EEG", "x", text, &[("law", "EEG 2014"), ("section", "§ 5")]),
        Some(Relation::Is)
    );
}

#[test]
fn a_year_in_the_name_of_a_law_is_part_of_it_where_both_name_one() {
    let of = |law: &'static str| [("law", law), ("section", "§ 10b")];
    for query in ["§ 10b EEG 2014", "§ 10b Abs. 2 EEG 2014", "§ 10b des EEG 2014"] {
        assert_eq!(relation(query, "x", "Text", &of("EEG 2014")), Some(Relation::Is), "{query}");
        assert_eq!(relation(query, "x", "Text", &of("EEG")), Some(Relation::Is), "{query}");
        assert_eq!(relation(query, "x", "Text", &of("EEG 2023")), None, "{query}");
        assert_eq!(relation(query, "eeg_2014-10b", "Text", &[]), Some(Relation::Is), "{query}");
        assert_eq!(relation(query, "eeg_2023-10b", "Text", &[]), None, "{query}");
    }
    assert_eq!(relation("§ 10b EEG", "x", "Text", &of("EEG 2023")), Some(Relation::Is));
    let cites = |text: &str| relation("§ 10b EEG 2014", "x", text, &[]);
    assert_eq!(cites("Nach § 10b Abs. 1 EEG 2014 gilt das."), Some(Relation::Cites));
    assert_eq!(cites("Nach § 10b EEG gilt das."), Some(Relation::Cites));
    assert_eq!(cites("Nach § 10b EEG 2023 gilt das."), None);
    assert_eq!(cites("Nach § 10b EEG 2023 und § 10b EEG 2014."), Some(Relation::Cites));
    assert_eq!(relation("§ 10b EEG 2014", "x", "Siehe § 10b.", &[("law", "EEG 2023")]), None);
}

#[test]
fn another_number_or_another_law_is_another_provision() {
    let section = [("law", "BauGB"), ("section", "§ 135")];
    assert_eq!(relation("§ 35 BauGB", "x", "Text", &section), None);
    assert_eq!(relation("§ 35a BauGB", "baugb-35", "Text", &[]), None);
    assert_eq!(relation("§ 35 VwVfG", "baugb-35", "Text", &[]), None);
}

#[test]
fn sections_of_one_law_cite_each_other_without_its_name() {
    let law = [("law", "VwGO"), ("section", "§ 1")];
    assert_eq!(relation("§ 80 VwGO", "x", "Das gilt nach § 80 Abs. 5 nicht.", &law), Some(Relation::Cites));
    assert_eq!(
        relation("§ 80 Abs. 5 VwGO", "x", "Das gilt nach § 80 Abs. 5 nicht.", &law),
        Some(Relation::Cites)
    );
    assert_eq!(relation("§ 80 Abs. 4 VwGO", "x", "Das gilt nach § 80 Abs. 5 nicht.", &law), None);
    assert_eq!(relation("§ 80 BauGB", "x", "Das gilt nach § 80 Abs. 5 nicht.", &law), None);
    assert_eq!(relation("§ 80", "x", "Das gilt nach § 80 Abs. 5 nicht.", &law), Some(Relation::Cites));
}

#[test]
fn a_range_cites_what_it_does_not_name() {
    assert_eq!(relation("§ 35 BauGB", "x", "Nach den §§ 29 bis 37 BauGB.", &[]), Some(Relation::Cites));
    assert_eq!(relation("Art. 2 GG", "x", "Die Artikel 1 bis 3 GG binden.", &[]), Some(Relation::Cites));
    assert_eq!(relation("§ 38 BauGB", "x", "Nach den §§ 29 bis 37 BauGB.", &[]), None);
}
