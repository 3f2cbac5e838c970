//! How queries are understood, and where malformed ones are wrong.

use super::{AllOf, AnyOf, Query, QueryError, Term};

fn word(word: &str) -> Term {
    Term::Word(word.into())
}

fn all(terms: &[Term]) -> AllOf {
    AllOf { all: terms.to_vec(), not: Vec::new() }
}

fn root(query: &str) -> AnyOf {
    Query::parse(query).unwrap().root
}

fn refusal(query: &str) -> (usize, String) {
    match Query::parse(query) {
        Err(error @ QueryError::Malformed { place, .. }) => (place, error.to_string()),
        other => panic!("`{query}` became {other:?}"),
    }
}

#[test]
fn not_binds_closer_than_and_and_and_closer_than_or() {
    let expected = AnyOf {
        any: vec![
            all(&[word("a1")]),
            AllOf { all: vec![word("b1")], not: vec![word("c1")] },
            all(&[word("d1")]),
        ],
        not: vec![word("e1")],
    };
    assert_eq!(root("a1 OR b1 AND NOT c1 OR d1 -e1"), expected);
}

#[test]
fn a_plain_list_of_words_holds_no_operators() {
    let expected = AnyOf { any: vec![all(&[word("aussenbereich")])], not: Vec::new() };
    assert_eq!(root("Wer darf im Außenbereich?"), expected);
    let hyphens = AnyOf { any: vec![all(&[word("bund")]), all(&[word("laender")])], not: Vec::new() };
    assert_eq!(root("Bund-Länder"), hyphens);
    assert_eq!(root("Bund - Länder"), hyphens);
}

#[test]
fn a_word_with_parts_is_a_phrase_beside_and() {
    let phrase = Term::Phrase(vec!["bund".into(), "laender".into()]);
    assert_eq!(root("Bund-Länder AND Bau").any, [all(&[phrase, word("bau")])]);
}

#[test]
fn lower_case_and_or_not_are_words() {
    assert_eq!(root("bau and or not").any.len(), 4);
}

#[test]
fn a_malformed_query_is_refused_with_its_place() {
    for (query, place, part) in [
        ("Bau \"öffentliche Belange", 5, "has no end"),
        ("Bau „Belange", 5, "has no end"),
        ("Bau (Recht", 5, "has no end"),
        ("Bau) Recht", 4, "closes none"),
        ("AND Bau", 1, "`AND` needs"),
        ("Bau AND", 5, "ends where a word"),
        ("Bau AND AND Recht", 9, "is expected here"),
        ("OR Bau", 1, "`OR` needs"),
        ("Bau OR", 5, "`OR` needs"),
        ("NOT Bau", 1, "only says what is excluded"),
        ("-Bau -Recht", 1, "only says what is excluded"),
        ("Bau NOT", 5, "ends where a word"),
        ("Bau OR NOT Recht", 8, "beside `OR`"),
        ("Bau ()", 5, "hold no word"),
        ("Bau \"?\"", 5, "holds no word"),
        ("Größe AND (NOT Recht)", 11, "only says what is excluded"),
    ] {
        let (found, message) = refusal(query);
        assert_eq!(found, place, "{query}: {message}");
        assert!(message.contains(part) && message.contains(&format!("at character {place}")), "{message}");
    }
}

#[test]
fn endless_brackets_are_refused() {
    let query = format!("{}Bau{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(refusal(&query).1.contains("more than 32"));
}

#[test]
fn a_query_of_signs_alone_is_empty() {
    for query in ["", " ?! ", "AND", "- -", "()"] {
        assert!(matches!(Query::parse(query), Err(QueryError::Empty { .. })), "{query}");
    }
}

#[test]
fn an_operator_is_never_the_law_of_a_provision() {
    let asked = Query::parse("§ 35 AND Bau").unwrap();
    assert_eq!(asked.root.any, [all(&[Term::Provision(0), word("bau")])]);
    assert_eq!(Query::parse("\"§ 35 BauGB\"").unwrap().provisions, []);
}

#[test]
fn a_year_behind_a_law_belongs_to_its_name() {
    let provisions = |query: &str| -> Vec<(String, Option<String>)> {
        let asked = Query::parse(query).unwrap().provisions;
        asked.into_iter().map(|provision| (provision.cited.provision(), provision.year)).collect()
    };
    let eeg = |number: &str| (format!("§ {number} EEG"), Some("2014".to_owned()));
    for query in ["§ 10b EEG 2014", "§ 10b Abs. 1 EEG  2014", "EEG 2014 § 10b", "Strom § 10b EEG 2014 Netz"]
    {
        assert_eq!(provisions(query), [eeg("10b")], "{query}");
    }
    assert_eq!(provisions("§§ 9, 10b EEG 2014"), [eeg("9"), eeg("10b")]);
    assert_eq!(provisions("§ 35 BauGB 5000"), [("§ 35 BauGB".to_owned(), None)]);
    assert_eq!(provisions("Urteil 2014 § 35"), [("§ 35".to_owned(), None)]);
    let asked = Query::parse("§ 10b EEG 2014 Strom").unwrap();
    assert_eq!(asked.root.any, [all(&[Term::Provision(0)]), all(&[word("strom")])]);
    assert_eq!(asked.positive, ["§ 10b EEG 2014", "Strom"]);
    let words = Query::parse("§ 35 BauGB 20144 2014").unwrap().root.any;
    assert_eq!(words, [all(&[Term::Provision(0)]), all(&[word("20144")]), all(&[word("2014")])]);
}
