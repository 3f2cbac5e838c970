//! Bad input ends with a message that says what to do.

use std::time::Duration;

use anyhow::Result;
use clara_runtime::config::ThemisRoute;
use serde_json::json;

use crate::{
    double::{Double, Faults, Generation, Quirks, Store},
    pass::{failure, read, request},
};

const GENERATIONS: [Generation; 2] = [Generation::T25, Generation::T26];

async fn double(quirks: Quirks) -> Result<Double> {
    Double::start(quirks, Faults::default(), Store::sections(30)).await
}

fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is missing in: {text}");
    }
}

#[tokio::test]
async fn a_wrong_table_is_refused_on_every_route() -> Result<()> {
    for generation in GENERATIONS {
        let double = double(Quirks::of(generation)).await?;
        for route in [ThemisRoute::Aql, ThemisRoute::Fulltext] {
            let mut request = request(&double, route)?;
            request.query = Some("Verfahren".to_owned());
            request.settings.table = Some("dokumente".to_owned());
            let (is_retryable, text) = failure(request).await?;
            assert!(!is_retryable, "{text}");
            assert_says(&text, &["@gesetze", "table `dokumente`", "table", "[sources.gesetze]"]);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_column_without_a_full_text_index_is_refused_with_the_request_that_makes_one() -> Result<()> {
    for generation in GENERATIONS {
        let double = double(Quirks::of(generation)).await?;
        let mut request = request(&double, ThemisRoute::Fulltext)?;
        request.query = Some("Verfahren".to_owned());
        request.settings.fields.insert("text".to_owned(), "inhalt".to_owned());
        let (is_retryable, text) = failure(request).await?;
        assert!(!is_retryable, "{text}");
        assert_says(&text, &["400: No fulltext index on documents.inhalt", "POST /index/create", "\"aql\""]);
    }
    Ok(())
}

#[tokio::test]
async fn a_column_without_a_range_index_is_refused_with_the_request_that_makes_one() -> Result<()> {
    let double = double(Quirks::of(Generation::T25)).await?;
    let mut request = request(&double, ThemisRoute::Aql)?;
    request.settings.key = Some("title".to_owned());
    let (is_retryable, text) = failure(request).await?;
    assert!(!is_retryable, "{text}");
    assert_says(
        &text,
        &["ORDER BY requires range index on column: title", "\"type\":\"range\"", "[sources.gesetze].key"],
    );
    Ok(())
}

#[tokio::test]
async fn a_wrong_text_column_is_refused_before_everything_is_read() -> Result<()> {
    let double = double(Quirks::of(Generation::T26)).await?;
    let mut request = request(&double, ThemisRoute::Aql)?;
    request.settings.fields.insert("text".to_owned(), "inhalt".to_owned());
    let (is_retryable, text) = failure(request).await?;
    assert!(!is_retryable, "{text}");
    assert_says(&text, &["lack a text", "`inhalt`", "`content`", "[sources.gesetze].fields"]);
    Ok(())
}

#[tokio::test]
async fn keys_that_lead_nowhere_are_refused() -> Result<()> {
    let double = double(Quirks::of(Generation::T25)).await?;
    let mut gone = request(&double, ThemisRoute::Auto)?;
    gone.since = Some(json!({ "sequence": 0 }));
    double.store().documents.clear();
    let (is_retryable, text) = failure(gone).await?;
    assert!(!is_retryable, "{text}");
    assert_says(&text, &["none of the 30 keys", "/entities/documents:KEY"]);
    Ok(())
}

#[tokio::test]
async fn a_missing_or_expired_token_is_refused_where_the_server_asks_for_one() -> Result<()> {
    for generation in GENERATIONS {
        let double = double(Quirks { token: Some("right".to_owned()), ..Quirks::of(generation) }).await?;
        let (is_retryable, text) = failure(request(&double, ThemisRoute::Aql)?).await?;
        assert!(!is_retryable, "{text}");
        assert_says(&text, &["401: Missing Authorization header", "[sources.gesetze].token_env"]);

        let mut expired = request(&double, ThemisRoute::Aql)?;
        // Any variable that every test has, and that is no token of this server.
        expired.settings.token_env = Some("CARGO_PKG_NAME".to_owned());
        let (is_retryable, text) = failure(expired).await?;
        assert!(!is_retryable, "{text}");
        assert_says(&text, &["401: Token has expired", "expired", "[sources.gesetze].token_env"]);
        assert!(!text.contains(env!("CARGO_PKG_NAME")), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_right_token_opens_every_route() -> Result<()> {
    let token = Some(env!("CARGO_PKG_NAME").to_owned());
    let double = double(Quirks { token, ..Quirks::of(Generation::T26) }).await?;
    for route in [ThemisRoute::Aql, ThemisRoute::Export, ThemisRoute::Fulltext] {
        let mut request = request(&double, route)?;
        request.query = Some("Verfahren".to_owned());
        request.settings.token_env = Some("CARGO_PKG_NAME".to_owned());
        assert!(read(request).await?.records.len() >= 27);
    }
    Ok(())
}

#[tokio::test]
async fn a_server_without_changefeed_gives_no_increment() -> Result<()> {
    for generation in GENERATIONS {
        let double = double(Quirks { changefeed: false, ..Quirks::of(generation) }).await?;
        let mut request = request(&double, ThemisRoute::Auto)?;
        request.since = Some(json!({ "sequence": 3 }));
        let (is_retryable, text) = failure(request).await?;
        assert!(!is_retryable, "{text}");
        assert_says(&text, &["404: Feature 'cdc' disabled", "leave --since-last out"]);
    }
    Ok(())
}

#[tokio::test]
async fn a_changefeed_that_was_begun_anew_gives_no_increment() -> Result<()> {
    let double = double(Quirks::of(Generation::T25)).await?;
    let mut request = request(&double, ThemisRoute::Auto)?;
    request.since = Some(json!({ "sequence": 100_000 }));
    let (is_retryable, text) = failure(request).await?;
    assert!(!is_retryable, "{text}");
    assert_says(&text, &["before 100000", "leave --since-last out"]);
    Ok(())
}

#[tokio::test]
async fn a_filter_with_a_word_that_aql_refuses_is_refused_before_it_is_sent() -> Result<()> {
    let double = double(Quirks::of(Generation::T25)).await?;
    let mut request = request(&double, ThemisRoute::Aql)?;
    request.settings.filter = Some("d.title == \"Alter Bescheid\"".to_owned());
    let (is_retryable, text) = failure(request).await?;
    assert!(!is_retryable, "{text}");
    assert_says(&text, &["`alter`", "[sources.gesetze].filter"]);
    assert_eq!(double.asked("/query/aql"), 0);
    Ok(())
}

#[tokio::test]
async fn a_source_that_answers_for_ever_is_given_up_when_patience_ends() -> Result<()> {
    let double = double(Quirks { stuck: true, ..Quirks::of(Generation::T25) }).await?;
    let mut request = request(&double, ThemisRoute::Aql)?;
    request.settings.patience.0 = Duration::from_secs(1);
    let (is_retryable, text) = failure(request).await?;
    assert!(is_retryable, "{text}");
    assert_says(&text, &["rows again that were read already", "[sources.gesetze].patience"]);
    Ok(())
}

#[tokio::test]
async fn a_server_that_hangs_or_fails_is_given_up_when_patience_ends() -> Result<()> {
    for (faults, expected) in [
        (Faults { hang: 1000, ..Faults::default() }, "no whole answer within"),
        (Faults { down: 1000, ..Faults::default() }, "503: Database busy"),
        (Faults { too_many: 1000, ..Faults::default() }, "429: Rate limit exceeded"),
        (Faults { cut: 1000, ..Faults::default() }, "last because the "),
    ] {
        let double = Double::start(Quirks::of(Generation::T26), faults, Store::sections(3)).await?;
        let mut request = request(&double, ThemisRoute::Aql)?;
        request.settings.patience.0 = Duration::from_secs(1);
        request.settings.timeout.0 = Duration::from_millis(200);
        let (is_retryable, text) = failure(request).await?;
        assert!(is_retryable, "{text}");
        assert_says(&text, &[expected, "[sources.gesetze].patience"]);
    }
    Ok(())
}

#[tokio::test]
async fn full_text_without_a_query_is_refused() -> Result<()> {
    let double = double(Quirks::of(Generation::T25)).await?;
    let (is_retryable, text) = failure(request(&double, ThemisRoute::Fulltext)?).await?;
    assert!(!is_retryable, "{text}");
    assert_says(&text, &["needs a query", "[sources.gesetze].route"]);
    Ok(())
}
