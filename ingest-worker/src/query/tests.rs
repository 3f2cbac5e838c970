//! What a query finds, and in which order.

use std::collections::BTreeMap;

use clara_lifecycle::{
    dataset::{DropReason, TrainingContent},
    query::{Query, QueryError},
    spec::IngestOptions,
};

use super::{Ranking, SearchIndex, sought_words};
use crate::{
    error::IngestError,
    source::{Document, Origin},
};

/// A document with a text and metadata.
pub(crate) fn document(id: &str, text: &str, metadata: &[(&str, &str)]) -> Document {
    let metadata = metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Document {
        id: id.to_owned(),
        origin: Origin::file("test"),
        domain: None,
        licence: None,
        classification: None,
        content: TrainingContent::Text { text: text.to_owned() },
        metadata: metadata.collect::<BTreeMap<_, _>>(),
    }
}

fn search_in(documents: &[Document], query: &str) -> Result<Vec<(u64, f32)>, IngestError> {
    let folder = tempfile::tempdir().unwrap();
    let mut index = SearchIndex::create(&folder.path().join("index"), Query::parse(query)?)?;
    for (number, document) in (0..).zip(documents) {
        index.add(number, document)?;
    }
    index.search()
}

fn search(documents: &[&str], query: &str) -> Result<Vec<(u64, f32)>, IngestError> {
    let documents: Vec<Document> = documents.iter().map(|text| document("x", text, &[])).collect();
    search_in(&documents, query)
}

fn found(documents: &[&str], query: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> =
        search(documents, query).unwrap().into_iter().map(|(number, _)| number).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn inflected_words_match_their_query_word() {
    let documents = ["Die Gebäude des Eigentümers", "Baugenehmigungen werden erteilt", "Steuern"];
    assert_eq!(found(&documents, "Gebäudes"), [0]);
    assert_eq!(found(&documents, "Baugenehmigung"), [1]);
    assert_eq!(found(&documents, "Steuer"), [2]);
}

#[test]
fn umlauts_match_their_transcription_both_ways() {
    assert_eq!(found(&["Gebaeude", "GEBÄUDE", "Strasse"], "gebäude"), [0, 1]);
    assert_eq!(found(&["Straße", "Straßen", "Ort"], "Strasse"), [0, 1]);
    assert_eq!(found(&["Größe der Fläche"], "Groesse"), [0]);
}

#[test]
fn a_query_word_matches_its_compounds() {
    let documents =
        ["Photovoltaikanlagen auf Dächern", "baurechtliche Vorschriften", "im Städtebaurecht", "Wasser"];
    assert_eq!(found(&documents, "Photovoltaik Baurecht"), [0, 1, 2]);
}

#[test]
fn a_short_query_word_matches_only_at_the_beginning() {
    assert_eq!(found(&["Rechtsweg", "Bauordnungsrecht", "gerechtfertigt"], "Recht"), [0]);
    assert_eq!(found(&["Baum", "Bau"], "Bau"), [1]);
}

#[test]
fn a_query_word_is_taken_apart_where_both_parts_are_words_of_the_documents() {
    let documents = ["Bauordnungsrecht", "das Recht am Bau", "Bauaufsicht", "Baurecht gilt"];
    assert_eq!(found(&documents, "Baurecht"), [0, 3]);
    assert_eq!(found(&["Bauordnungsrecht", "Bauaufsicht"], "Baurecht"), Vec::<u64>::new());
    let mut scores = search(&documents, "Baurecht").unwrap();
    scores.sort_by(|left, right| right.1.total_cmp(&left.1));
    assert_eq!(scores[0].0, 3);
}

#[test]
fn a_section_outranks_a_common_word() {
    let mut documents: Vec<Document> =
        (0..20).map(|n| document(&format!("x-{n}a"), "Ein Vorhaben im Außenbereich", &[])).collect();
    documents.push(document("baugb-35", "Ein anderer Text", &[]));
    let mut scores = search_in(&documents, "Außenbereich § 35 BauGB").unwrap();
    scores.sort_by(|left, right| right.1.total_cmp(&left.1));
    assert_eq!((scores.len(), scores[0].0), (21, 20));
}

#[test]
fn a_section_comes_before_documents_that_hold_the_other_words_often() {
    let often = "Windenergie ".repeat(50);
    let documents = [
        document("a", &often, &[]),
        document("b", &format!("{often} nach § 35 BauGB"), &[]),
        document("baugb-35", "Ein Vorhaben im Außenbereich", &[]),
        document("vwvfg-35", &often, &[]),
        document("c", "Eine Windenergieanlage", &[]),
        document("d", "Etwas anderes", &[]),
    ];
    let ranked = |query: &str| {
        let mut scores = search_in(&documents, query).unwrap();
        scores.sort_by(|left, right| right.1.total_cmp(&left.1));
        scores.into_iter().map(|(number, _)| number).collect::<Vec<_>>()
    };
    let found = ranked("§ 35 BauGB Windenergie");
    assert_eq!((found[0], found[1], found.len()), (2, 1, 5), "{found:?}");
    assert_eq!(ranked("Windenergie -§ 35 BauGB").len(), 3, "the section is excluded, not put first");
    assert_eq!(ranked("§ 35 BauGB AND Windenergie"), [1]);
}

#[test]
#[ignore = "needs CLARA_SECTIONS, a JSONL file of sections of statutes with `id`, `law`, `section` and `text`"]
fn a_provision_that_is_asked_for_is_the_first_of_real_sections() {
    let lines = std::fs::read_to_string(std::env::var("CLARA_SECTIONS").unwrap()).unwrap();
    let sections = lines.lines().map(|line| {
        let fields: BTreeMap<String, String> = serde_json::from_str(line).unwrap();
        let metadata: Vec<(&str, &str)> =
            ["law", "law_title", "section", "heading"].map(|name| (name, fields[name].as_str())).to_vec();
        document(&fields["id"], &fields["text"], &metadata)
    });
    let sections: Vec<Document> = sections.collect();
    let mut wrong = Vec::new();
    // Each query has an index of its own.
    for section in sections.iter().step_by(40) {
        let (law, number) = (&section.metadata["law"], &section.metadata["section"]);
        for query in [format!("{number} {law}"), format!("{law} {number} Windenergie Bauantrag Klage")] {
            let mut scores = search_in(&sections, &query).unwrap();
            scores.sort_by(|left, right| right.1.total_cmp(&left.1));
            let first = scores.first().map(|(place, _)| &sections[usize::try_from(*place).unwrap()].id);
            if first != Some(&section.id) {
                wrong.push(format!("{query}: {first:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn words_side_by_side_and_or_take_any_and_takes_all() {
    let documents = ["Der Bauantrag", "Der Nachbar", "Bauantrag und Nachbar", "Die Steuer"];
    assert_eq!(found(&documents, "Bauantrag Nachbar"), [0, 1, 2]);
    assert_eq!(found(&documents, "Bauantrag OR Nachbar"), [0, 1, 2]);
    assert_eq!(found(&documents, "Bauantrag AND Nachbar"), [2]);
    assert_eq!(found(&documents, "Steuer Bauantrag AND Nachbar"), [2, 3]);
    assert_eq!(found(&documents, "(Steuer OR Bauantrag) AND Nachbar"), [2]);
}

#[test]
fn what_is_excluded_is_in_no_result() {
    let documents = ["Der Bauantrag", "Der Nachbar", "Bauantrag und Nachbar", "Die Steuer"];
    for query in
        ["Bauantrag -Nachbar", "Bauantrag NOT Nachbar", "Bauantrag AND NOT Nachbar", "-Nachbar Bauantrag"]
    {
        assert_eq!(found(&documents, query), [0], "{query}");
    }
    assert_eq!(found(&documents, "Bauantrag Steuer -(Nachbar Gemeinde)"), [0, 3]);
}

#[test]
fn a_phrase_wants_its_words_in_order_in_any_of_their_forms() {
    let documents = [
        "Öffentliche Belange stehen entgegen",
        "wenn öffentlicher Belang entgegensteht",
        "Belange der öffentlichen Hand",
    ];
    assert_eq!(found(&documents, "\"öffentliche Belange\""), [0, 1]);
    assert_eq!(found(&documents, "„öffentliche Belange“ AND entgegensteht"), [1]);
    assert_eq!(found(&documents, "Belange -\"öffentliche Belange\""), [2]);
    assert_eq!(found(&["Bauordnungsrecht", "Baurecht", "Bau", "Recht"], "\"Baurecht\""), [1]);
}

#[test]
fn a_provision_finds_the_section_and_the_texts_that_cite_it() {
    let documents = [
        document("a", "Im Außenbereich ist ein Vorhaben zulässig.", &[("law", "BauGB"), ("section", "§ 35")]),
        document("b", "Die Grenze nach § 135 BauGB.", &[]),
        document("c", "Nach § 35 Abs. 2 BauGB entscheidet die Behörde.", &[]),
        document("d", "Ein Widerspruch nach § 35 VwVfG.", &[]),
        document("e", "Zulässig nach den §§ 30 bis 37.", &[("law", "BauGB"), ("section", "§ 29")]),
        document("vwvfg-35", "Verwaltungsakt ist jede Verfügung.", &[]),
        document("f", "35 Bauten nach dem BauGB.", &[]),
    ];
    let found = |query: &str| {
        let mut scores = search_in(&documents, query).unwrap();
        scores.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
        scores.into_iter().map(|(number, _)| number).collect::<Vec<_>>()
    };
    assert_eq!(found("§ 35 BauGB"), [0, 2, 4]);
    assert_eq!(found("BauGB § 35"), [0, 2, 4]);
    assert_eq!(found("§ 35 Abs. 2 des Baugesetzbuchs"), [0, 2]);
    assert_eq!(found("§ 35 VwVfG"), [5, 3]);
    assert_eq!(found("§ 35 BauGB AND Behörde"), [2]);
    assert_eq!(found("§ 35 BauGB -§ 29"), [0, 2]);
    assert_eq!(found("§§ 35, 135 BauGB NOT Behörde"), [0, 1, 4]);
}

#[test]
fn the_word_itself_outranks_a_compound_of_it() {
    let documents =
        ["Eine Anlage steht hier", "Eine Photovoltaikpflicht gilt hier", "Die Photovoltaik gilt hier"];
    let ranking = Ranking::new(search(&documents, "Photovoltaik").unwrap(), &IngestOptions::default());
    assert_eq!(ranking.place(2).unwrap().rank, 1);
    assert_eq!(ranking.place(1).unwrap().rank, 2);
    assert_eq!(ranking.place(0).unwrap_err().0, DropReason::NotRelevant);
}

#[test]
fn a_document_with_more_query_words_ranks_first() {
    let documents = ["Der Bauantrag", "Der Bauantrag und die Nachbarn", "Die Nachbarn"];
    let ranking = Ranking::new(search(&documents, "Bauantrag Nachbar").unwrap(), &IngestOptions::default());
    assert_eq!(ranking.place(1).unwrap().rank, 1);
}

#[test]
fn function_words_are_no_search_terms() {
    assert_eq!(found(&["Im Haus", "Außenbereich", "Wer darf"], "Wer darf im Außenbereich?"), [1]);
    assert_eq!(found(&["und", "oder", "Bau"], "und oder"), [0, 1]);
}

#[test]
fn a_server_that_knows_words_only_gets_what_is_looked_for() {
    let sought = sought_words("Photovoltaik AND (Baurecht OR \"Freie Fläche\") -Steuer § 35 BauGB").unwrap();
    assert_eq!(sought, ["Photovoltaik", "Baurecht", "Freie Fläche", "§ 35 BauGB"]);
}

#[test]
fn a_query_without_words_is_refused_and_one_without_matches_finds_nothing() {
    assert!(matches!(search(&["Text"], " ?! "), Err(IngestError::Query(QueryError::Empty { .. }))));
    assert!(search(&["Text"], "Fischerei").unwrap().is_empty());
    assert!(search(&[], "Fischerei").unwrap().is_empty());
}

#[test]
fn equal_scores_keep_document_order_and_top_k_cuts_after_it() {
    let options = IngestOptions { top_k: Some(2), ..IngestOptions::default() };
    let ranking = Ranking::new(search(&["Bauantrag"; 4], "Bauantrag").unwrap(), &options);
    assert_eq!(ranking.place(0).unwrap().rank, 1);
    assert_eq!(ranking.place(1).unwrap().rank, 2);
    assert_eq!(ranking.place(2).unwrap_err().0, DropReason::BeyondTopK);
}

#[test]
fn relevance_is_relative_to_the_best_and_the_limit_is_inclusive() {
    let options = IngestOptions { min_relevance: 0.5, ..IngestOptions::default() };
    let ranking = Ranking::new(vec![(7, 2.0), (3, 4.0), (5, 1.9)], &options);
    assert!((ranking.place(3).unwrap().relevance - 1.0).abs() < f64::EPSILON);
    assert_eq!(ranking.place(7).unwrap().rank, 2);
    assert_eq!(ranking.place(5).unwrap_err().0, DropReason::NotRelevant);
}

#[test]
fn relevance_is_a_number_where_no_document_is_like_the_query() {
    let ranking = Ranking::new(vec![(0, 0.0), (1, 0.0)], &IngestOptions::default());
    assert!(ranking.place(1).unwrap().relevance.abs() < f64::EPSILON);
}
