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
