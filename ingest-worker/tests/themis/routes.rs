//! Every route of both generations gives the same documents, whatever the server makes of them.

use anyhow::Result;
use clara_runtime::config::ThemisRoute;
use serde_json::{Value, json};

use crate::{
    double::{Cursors, Double, Faults, Generation, Quirks, Store},
    pass::{read, request},
};

const SECTIONS: usize = 60;
const GENERATIONS: [Generation; 2] = [Generation::T25, Generation::T26];

async fn double(quirks: Quirks) -> Result<Double> {
    Double::start(quirks, Faults::default(), Store::sections(SECTIONS)).await
}

#[tokio::test]
async fn a_query_finds_the_same_documents_by_every_route() -> Result<()> {
    let mut found = Vec::new();
    for generation in GENERATIONS {
        for route in [ThemisRoute::Auto, ThemisRoute::Fulltext, ThemisRoute::Aql, ThemisRoute::Export] {
            let double = double(Quirks::of(generation)).await?;
            let mut request = request(&double, route)?;
            request.query = Some("Photovoltaik Baurecht".to_owned());
            let given = read(request).await?;
            found.push((format!("{generation:?} {route:?}"), given.matching(&["Photovoltaik", "Baurecht"])));
        }
    }
    let (_, first) = found[0].clone();
    assert_eq!(first.len(), 27, "{first:?}");
    for (name, ids) in found {
        assert_eq!(ids, first, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn all_documents_are_read_whatever_the_server_makes_of_cursors_and_rows() -> Result<()> {
    for generation in GENERATIONS {
        for cursors in [Cursors::Work, Cursors::Repeat, Cursors::Expire, Cursors::None] {
            for (string_rows, lossy_rows) in [(false, false), (true, false), (true, true), (false, true)] {
                let double =
                    double(Quirks { cursors, string_rows, lossy_rows, ..Quirks::of(generation) }).await?;
                let given = read(request(&double, ThemisRoute::Aql)?).await?;
                let name = format!("{generation:?} {cursors:?} {string_rows} {lossy_rows}");
                assert_eq!(given.records.len(), SECTIONS, "{name}");
                assert!(given.order.is_sorted(), "{name}");
                // Rows may be lossy, bodies are not.
                let behoerde = given.records.values().all(|record| record.contains_key("metadata.behoerde"));
                assert!(behoerde, "{name}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn full_text_gives_the_best_first_and_tells_how_many() -> Result<()> {
    let double = double(Quirks::of(Generation::T25)).await?;
    let mut request = request(&double, ThemisRoute::Fulltext)?;
    request.query = Some("Photovoltaik Baurecht".to_owned());
    let given = read(request).await?;
    assert_eq!(given.total, Some(given.order.len() as u64));
    let text = given.records[&given.order[0]]["text"].as_str().unwrap_or_default();
    assert!(text.contains("Photovoltaik") && text.contains("Baurecht"), "{text}");
    // One list for each word, then each document once.
    assert_eq!(double.asked("/search/fulltext"), 2);
    assert_eq!(double.asked("/entities/"), given.order.len());
    Ok(())
}

#[tokio::test]
async fn a_query_that_is_found_in_compounds_alone_reads_all_documents() -> Result<()> {
    let double = double(Quirks::of(Generation::T26)).await?;
    let mut all = request(&double, ThemisRoute::Auto)?;
    all.query = Some("Bereich".to_owned());
    all.top_k = Some(20);
    assert_eq!(read(all).await?.records.len(), SECTIONS);
    let mut strict = request(&double, ThemisRoute::Fulltext)?;
    strict.query = Some("Bereich".to_owned());
    assert!(read(strict).await?.records.is_empty());
    Ok(())
}

#[tokio::test]
async fn top_k_reads_some_more_than_it_keeps_and_not_everything() -> Result<()> {
    let double = double(Quirks::of(Generation::T25)).await?;
    let mut request = request(&double, ThemisRoute::Auto)?;
    request.query = Some("Verfahren".to_owned());
    request.top_k = Some(3);
    let given = read(request).await?;
    assert!((12..=21).contains(&given.records.len()), "{}", given.records.len());
    Ok(())
}

#[tokio::test]
async fn the_export_is_read_where_there_is_one() -> Result<()> {
    let double = double(Quirks::of(Generation::T26)).await?;
    let given = read(request(&double, ThemisRoute::Export)?).await?;
    // Those of other domains are left out, those of none come through.
    assert_eq!(given.records.len(), SECTIONS - 6);
    assert_eq!(given.records["d0003"]["source"], "§ 3 Verfahren");
    assert_eq!(double.asked("/entities/"), 0);
    Ok(())
}

#[tokio::test]
async fn an_increment_reads_what_was_written_since() -> Result<()> {
    for (generation, documented_feed) in [(Generation::T25, false), (Generation::T26, true)] {
        let double = double(Quirks { documented_feed, ..Quirks::of(generation) }).await?;
        let first = read(request(&double, ThemisRoute::Auto)?).await?;
        let since = first.state.clone();
        assert_eq!(since, Some(json!({ "sequence": double.store().sequence() })));
        {
            let mut store = double.store();
            for (key, text) in
                [("d0003", "geändert"), ("neu", "neu"), ("fort", "fort"), ("d0003", "noch einmal")]
            {
                store.put(key, &json!({ "content": format!("Dieser Abschnitt ist {text}."), "id": key }));
            }
            store.delete("fort");
            store.delete("d0004");
        }
        let mut request = request(&double, ThemisRoute::Auto)?;
        request.since = since;
        request.settings.page = 2;
        let given = read(request).await?;
        assert_eq!(given.order, ["neu", "d0003"]);
        assert_eq!(given.records["d0003"]["text"], "Dieser Abschnitt ist noch einmal.");
        assert_eq!(given.state, Some(json!({ "sequence": double.store().sequence() })));
    }
    Ok(())
}

#[tokio::test]
async fn a_server_without_changefeed_has_no_state() -> Result<()> {
    let double = double(Quirks { changefeed: false, ..Quirks::of(Generation::T25) }).await?;
    let given = read(request(&double, ThemisRoute::Aql)?).await?;
    assert_eq!((given.records.len(), given.state), (SECTIONS, None));
    Ok(())
}

#[tokio::test]
async fn keys_with_words_that_aql_refuses_are_read_too() -> Result<()> {
    let double = double(Quirks { cursors: Cursors::None, ..Quirks::of(Generation::T25) }).await?;
    for number in 0..20 {
        let key = format!("alter Bescheid {number:02} / \"ä\" 100%");
        double
            .store()
            .put(&key, &json!({ "id": key, "content": format!("Ein alter Bescheid, Nummer {number}.") }));
    }
    let given = read(request(&double, ThemisRoute::Aql)?).await?;
    assert_eq!(given.records.len(), SECTIONS + 20);
    assert!(double.asked("POST /query") > double.asked("POST /query/aql"));
    Ok(())
}

#[tokio::test]
async fn a_filter_narrows_what_is_read() -> Result<()> {
    let double = double(Quirks::of(Generation::T26)).await?;
    let mut request = request(&double, ThemisRoute::Aql)?;
    request.settings.filter = Some("d.metadata.jahr >= 2020 AND d.domain == \"verwaltungsrecht\"".to_owned());
    let given = read(request).await?;
    let expected = |number: &usize| 2000 + number % 25 >= 2020 && number % 9 != 8 && number % 10 != 9;
    assert_eq!(given.records.len(), (0..SECTIONS).filter(expected).count());
    Ok(())
}

#[tokio::test]
async fn a_rate_limit_is_kept_to() -> Result<()> {
    let double = double(Quirks { requests_per_window: Some(15), ..Quirks::of(Generation::T25) }).await?;
    let given = read(request(&double, ThemisRoute::Aql)?).await?;
    assert_eq!(given.records.len(), SECTIONS);
    // Some are refused at each border of a window, and none are sent in the pause that the server asked for.
    let requests = double.asked("");
    assert!(requests < SECTIONS * 2, "{requests} requests");
    Ok(())
}

#[tokio::test]
async fn broken_documents_are_told_and_do_not_stop_the_others() -> Result<()> {
    let double = double(Quirks { string_rows: false, ..Quirks::of(Generation::T26) }).await?;
    {
        let mut store = double.store();
        store.put("z1", &json!({ "id": "z1", "inhalt": "geheim" }));
        store.put("z2", &Value::from("kein Objekt"));
        store.documents.insert("z3".to_owned(), b"{\"content\":\"\xff\xfe\"}".to_vec());
        store.put("z4", &json!({ "id": "z4", "content": "x".repeat(65 << 20) }));
    }
    let mut request = request(&double, ThemisRoute::Auto)?;
    let since = double.store().events[SECTIONS - 1].sequence;
    request.since = Some(json!({ "sequence": since }));
    double.store().events.push(crate::double::Event {
        sequence: 10_000,
        key: "z3".to_owned(),
        value: Some(String::new()),
    });
    // The feed holds the long document as well, so that it is asked for in small pieces.
    request.settings.page = 1;
    double
        .store()
        .events
        .iter_mut()
        .for_each(|event| event.value = event.value.take().map(|_| String::new()));
    let given = read(request).await?;
    assert_eq!(given.broken["z1"], "it has no text in `content`; its fields are `id`, `inhalt`");
    assert_eq!(given.broken["z2"], "it is no JSON object");
    assert_eq!(given.broken["z3"], "it is no UTF-8");
    assert_eq!(given.broken["z4"], "it is longer than 64 MiB");
    assert!(given.records.is_empty());
    Ok(())
}
