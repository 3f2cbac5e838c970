//! Finds documents by the server's full-text index.

use std::collections::{HashMap, HashSet};

use clara_lifecycle::{
    language::is_german_function_word,
    text::{fold, words},
};
use serde_json::{Value, json};
use tracing::warn;

use super::server::Server;
use crate::fetch::{
    FetchError,
    http::{Answer, Ask},
};

/// At most so many keys are asked for at once; a list that long is cut by the server.
pub(super) const MOST_KEYS: usize = 100_000;

/// Keys of the documents that hold a word or phrase of the query, those with the greatest sum of scores first.
///
/// The server finds documents that hold *all* words of a request, the pipeline those that hold *any*: so each word is asked
/// for alone, and nothing that the pipeline would keep is missing but for compounds.
///
/// # Errors
/// As [`crate::fetch::http::Http::ask`]; also when the column has no index.
pub(super) async fn search(server: &Server, query: &str) -> Result<Vec<String>, FetchError> {
    let mut scores: HashMap<String, f64> = HashMap::new();
    for term in terms(query) {
        for (key, score) in ask(server, &term).await? {
            *scores.entry(key).or_default() += score;
        }
    }
    let mut ranked: Vec<(String, f64)> = scores.into_iter().collect();
    ranked.sort_unstable_by(|(left, left_score), (right, right_score)| {
        right_score.total_cmp(left_score).then_with(|| left.cmp(right))
    });
    if ranked.len() > MOST_KEYS {
        warn!(
            "the query finds {} documents in {}; the best {MOST_KEYS} are read",
            ranked.len(),
            server.table
        );
        ranked.truncate(MOST_KEYS);
    }
    Ok(ranked.into_iter().map(|(key, _)| key).collect())
}

async fn ask(server: &Server, term: &str) -> Result<Vec<(String, f64)>, FetchError> {
    let column = server.mapping.text();
    let body = json!({ "table": server.table, "column": column, "query": term, "limit": MOST_KEYS });
    let answer = match server.json(&Ask::post("search/fulltext", body)).await? {
        Ok(answer) => answer,
        Err(answer) => return Err(refused(server, column, &answer)),
    };
    let Some(Value::Array(results)) = answer.get("results") else {
        return Err(server.not_served(
            "full-text search",
            &Answer::Body(Vec::new()),
            "expected a list `results`",
        ));
    };
    let prefix = format!("{}:", server.table);
    let found: Vec<(String, f64)> = results
        .iter()
        .filter_map(|result| {
            let key = ["pk", "key", "_key"].iter().find_map(|name| result.get(name)?.as_str())?;
            let key = key.strip_prefix(&prefix).unwrap_or(key);
            Some((key.to_owned(), result.get("score").and_then(Value::as_f64).unwrap_or_default()))
        })
        .collect();
    if found.len() < results.len() {
        return Err(server.not_served(
            "full-text search",
            &Answer::Body(Vec::new()),
            "expected results with `pk`",
        ));
    }
    Ok(found)
}

fn refused(server: &Server, column: &str, answer: &Answer) -> FetchError {
    let section = server.http.section();
    let (table, index) = (&server.table, "POST /index/create");
    server.not_served(
        &format!("full-text search in `{column}`"),
        answer,
        &format!(
            "create the index by {index} {{\"table\":\"{table}\",\"column\":\"{column}\",\"type\":\"fulltext\"}}, correct table and \
             fields.text in {section}, or set route to \"aql\" there"
        ),
    )
}

/// The words and quoted phrases of a query that may be found, each once; operators, what follows `NOT` and function words
/// are left out.
fn terms(query: &str) -> Vec<String> {
    let (mut telling, mut others) = (Vec::new(), Vec::new());
    let mut is_negated = false;
    for token in tokens(query) {
        let is_phrase = token.starts_with('"');
        match token.as_str() {
            "AND" | "OR" | "UND" | "ODER" => continue,
            "NOT" | "NICHT" => {
                is_negated = true;
                continue;
            }
            _ => {}
        }
        if std::mem::take(&mut is_negated) || token.starts_with('-') {
            continue;
        }
        let folded = fold(&token);
        if words(&folded).next().is_none() {
            continue;
        }
        let is_telling = is_phrase || !words(&folded).all(is_german_function_word);
        if is_telling { telling.push(token) } else { others.push(token) }
    }
    let mut met = HashSet::new();
    let chosen = if telling.is_empty() { others } else { telling };
    chosen.into_iter().filter(|term| met.insert(term.clone())).collect()
}

/// Words without outer punctuation, and phrases with their quotes.
fn tokens(query: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    for (number, part) in query.split(['"', '„', '“', '”']).enumerate() {
        if number % 2 == 1 {
            tokens.push(format!("\"{}\"", part.trim()));
            continue;
        }
        let words = part.split(|letter: char| letter.is_whitespace() || "(),;:".contains(letter));
        tokens.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_and_phrase_of_a_query_is_asked_for_alone() {
        assert_eq!(terms("Photovoltaik Baurecht"), ["Photovoltaik", "Baurecht"]);
        assert_eq!(terms("die Anlage im Baurecht, die Anlage"), ["Anlage", "Baurecht"]);
        assert_eq!(
            terms("\"öffentlicher Belang\" AND (Solar OR Wind) NOT Kernkraft -Gas"),
            ["\"öffentlicher Belang\"", "Solar", "Wind"]
        );
        assert_eq!(terms("§ 35 BauGB"), ["35", "BauGB"]);
        assert_eq!(terms("wer wie was"), ["wer", "wie", "was"]);
        assert!(terms("§ - !").is_empty());
    }
}
