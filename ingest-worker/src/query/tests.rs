//! What a query finds, and in which order.

use clara_lifecycle::{dataset::DropReason, spec::IngestOptions};

use super::{Ranking, SearchIndex, search_words};
use crate::error::IngestError;

fn search(documents: &[&str], query: &str) -> Result<Vec<(u64, f32)>, IngestError> {
    let folder = tempfile::tempdir().unwrap();
    let mut index = SearchIndex::create(&folder.path().join("index"))?;
    for (number, text) in (0..).zip(documents) {
        index.add(number, text)?;
    }
    index.search(query)
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
fn a_short_query_word_matches_only_at_the_beginning_and_no_compound_is_taken_apart() {
    assert_eq!(found(&["Rechtsweg", "Bauordnungsrecht", "gerechtfertigt"], "Recht"), [0]);
    assert_eq!(found(&["Baum", "Bau"], "Bau"), [1]);
    assert_eq!(found(&["Bauordnungsrecht", "das Recht am Bau"], "Baurecht"), Vec::<u64>::new());
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
    assert_eq!(search_words("Wer darf im Außenbereich bauen?"), ["darf", "aussenbereich", "bauen"]);
    assert_eq!(search_words("und oder"), ["und", "oder"]);
    assert_eq!(found(&["Im Haus", "Außenbereich"], "im Außenbereich"), [1]);
}

#[test]
fn a_query_without_words_is_refused_and_one_without_matches_finds_nothing() {
    assert!(matches!(search(&["Text"], " ?! "), Err(IngestError::EmptyQuery { .. })));
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
