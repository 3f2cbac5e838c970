//! Reading a real PostgreSQL.

mod schemas;
mod server;

use clara_runtime::config::RemoteSettings;
use serde_json::json;

use self::server::{Server, fields, request};
use super::Postgres;
use crate::fetch::{
    FetchError, Fetched, Remote, RemoteRequest,
    reading::{documents, goes_on_from_every_page, ids, record},
};

async fn all(request: &RemoteRequest) -> Vec<Fetched> {
    documents(&mut Postgres::open(request, None).unwrap()).await.unwrap()
}

/// The error of a request that must fail.
async fn refusal(request: &RemoteRequest) -> String {
    let read = match Postgres::open(request, None) {
        Ok(mut remote) => documents(&mut remote).await,
        Err(error) => Err(error),
    };
    match read {
        Err(error @ FetchError::Refused { .. }) => {
            assert!(!error.is_retryable());
            error.to_string()
        }
        other => panic!("expected a refusal, found {other:?}"),
    }
}

fn with(request: &RemoteRequest, change: impl FnOnce(&mut RemoteSettings)) -> RemoteRequest {
    let mut changed = request.clone();
    change(&mut changed.settings);
    changed
}

#[tokio::test]
#[ignore = "needs PostgreSQL: make uds3"]
async fn a_table_is_read_whole_whatever_orders_it_and_goes_on_from_every_page() {
    let server = Server::start();
    server.sql(
        "CREATE TYPE place AS ENUM ('b', 'a', 'c');
         CREATE TABLE t (id text PRIMARY KEY, number int UNIQUE NOT NULL, amount numeric(30,10) UNIQUE, share double precision UNIQUE,
             uid uuid UNIQUE, made timestamptz UNIQUE, day date UNIQUE, short varchar(20) UNIQUE, fixed char(20) UNIQUE,
             flag bool, place place, tags text[], data jsonb, raw bytea, words tsvector, text text);
         INSERT INTO t SELECT 'ä''\"' || n, n - 50, n / 7.0, sqrt(n), gen_random_uuid(), '2025-01-01 12:00:00.123456+02'::timestamptz + n * '1 hour'::interval,
             '1999-12-31'::date + n, 'S' || n, 'F' || n, n % 2 = 0, 'a', ARRAY['x', 'y'], jsonb_build_object('n', n, 'deep', jsonb_build_object('k', 'v')),
             'raw', to_tsvector('raw'), 'Text ' || n FROM generate_series(1, 100) AS n;",
    );
    let request = server.request("t");
    for key in ["id", "number", "amount", "share", "uid", "made", "day", "short", "fixed"] {
        let request = with(&request, |settings| settings.key = Some(key.to_owned()));
        let read = goes_on_from_every_page(|cursor| Postgres::open(&request, cursor)).await.unwrap();
        let mut found = ids(&read);
        found.sort();
        found.dedup();
        assert_eq!((read.len(), found.len()), (100, 100), "by {key}");
    }
    let by_number = with(&request, |settings| settings.key = Some("number".to_owned()));
    let first = all(&by_number).await.remove(0);
    let mut first = record(&first).clone();
    assert!(first.remove("uid").is_some_and(|uid| uid.as_str().unwrap().len() == 36));
    let expected = json!({
        "id": "ä'\"1", "text": "Text 1", "number": "-49", "amount": "0.1428571429", "share": "1", "made": "2025-01-01T11:00:00.123456+00:00",
        "day": "2000-01-01", "short": "S1", "fixed": "F1", "flag": "false", "place": "a", "tags": "x, y", "data.n": "1", "data.deep.k": "v",
    });
    assert_eq!(serde_json::Value::from(first), expected);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: make uds3"]
async fn settings_narrow_rename_and_choose_metadata() {
    let server = Server::start();
    server.sql(
        "CREATE SCHEMA \"Recht\";
         CREATE TABLE \"Recht\".\"Gesetze\" (nr serial PRIMARY KEY, inhalt text, meta jsonb, weg text);
         INSERT INTO \"Recht\".\"Gesetze\" (inhalt, meta, weg) SELECT 'Inhalt ' || n,
             jsonb_build_object('gebiet', CASE n % 2 WHEN 0 THEN 'baurecht' ELSE 'verwaltungsrecht' END, 'amt', 'Amt ' || n), 'weg'
             FROM generate_series(1, 40) AS n;",
    );
    let request = with(&server.request("Recht.Gesetze"), |settings| {
        settings.fields = fields(&[("id", "nr"), ("text", "inhalt"), ("domain", "meta.gebiet")]);
        settings.metadata = vec!["meta.amt".to_owned()];
        settings.filter = Some("nr <= 30 -- the newer ones are not in force".to_owned());
    });
    let read = all(&request).await;
    assert_eq!(read.len(), 30);
    assert_eq!(
        serde_json::Value::from(record(&read[0]).clone()),
        json!({"id": "1", "text": "Inhalt 1", "domain": "verwaltungsrecht", "meta.amt": "Amt 1"})
    );
    let page = Postgres::open(&request, None).unwrap().next_page().await.unwrap().unwrap();
    assert_eq!((page.total, page.documents.len()), (Some(30), 7));
    let quoted = with(&request, |settings| settings.table = Some("\"Recht\".\"Gesetze\"".to_owned()));
    assert_eq!(all(&quoted).await, read);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: make uds3"]
async fn rows_that_come_and_go_meanwhile_hide_and_repeat_none() {
    let server = Server::start();
    server.sql("CREATE TABLE t (id int PRIMARY KEY, text text); INSERT INTO t SELECT n * 10, 'Text' FROM generate_series(1, 50) AS n;");
    let request = server.request("t");
    let mut remote = Postgres::open(&request, None).unwrap();
    let mut found = ids(&remote.next_page().await.unwrap().unwrap().documents);
    server.sql("DELETE FROM t WHERE id <= 70; INSERT INTO t VALUES (5, 'before'), (105, 'after');");
    found.extend(ids(&documents(&mut remote).await.unwrap()));
    let expected: Vec<String> = (1..=10)
        .map(|n| n * 10)
        .chain([105])
        .chain((11..=50).map(|n| n * 10))
        .map(|n| n.to_string())
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: make uds3"]
async fn a_server_that_dies_between_pages_is_waited_for() {
    let server = Server::start();
    server.sql("CREATE TABLE t (id int PRIMARY KEY, text text); INSERT INTO t SELECT n, 'Text' FROM generate_series(1, 50) AS n; CHECKPOINT;");
    let mut remote = Postgres::open(&server.request("t"), None).unwrap();
    let first = remote.next_page().await.unwrap().unwrap().documents;
    server.kill();
    let restart = tokio::task::spawn_blocking(move || {
        server.start_again();
        server
    });
    let rest = documents(&mut remote).await.unwrap();
    assert_eq!(first.len() + rest.len(), 50);
    let server = restart.await.unwrap();
    server.kill();
    let hasty =
        with(&server.request("t"), |settings| settings.patience.0 = std::time::Duration::from_secs(1));
    let error = documents(&mut Postgres::open(&hasty, None).unwrap()).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("cannot connect"), "{error}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: make uds3"]
async fn rows_that_cannot_be_read_are_broken_and_stop_nothing() {
    let server = Server::start();
    server.sql(
        "CREATE TABLE t (id int PRIMARY KEY, text text); ALTER TABLE t ALTER text SET STORAGE EXTERNAL;
         INSERT INTO t VALUES (1, 'ok'), (2, NULL), (3, repeat('x', 70000000)), (4, repeat('y', 20000000)), (5, repeat('z', 20000000)), (6, 'ok');",
    );
    let read = goes_on_from_every_page(|cursor| Postgres::open(&server.request("t"), cursor)).await.unwrap();
    assert_eq!(ids(&read), ["1", "2", "3", "4", "5", "6"]);
    assert!(
        matches!(&read[1], Fetched::Broken { problem, .. } if problem.contains("no text in `text`")),
        "{:?}",
        read[1]
    );
    assert!(
        matches!(&read[2], Fetched::Broken { problem, .. } if problem.contains("it takes 70000001 bytes"))
    );
    server.sql("CREATE DATABASE old ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
    server.sql_in(
        "old",
        "CREATE TABLE t (id int PRIMARY KEY, text text); INSERT INTO t VALUES (1, E'f\\xfcr'), (2, 'ok');",
    );
    let old = with(&server.request("t"), |settings| {
        settings.url = Some(server.url("owner:owner", "old?sslmode=disable"));
    });
    let read = all(&old).await;
    assert!(
        matches!(&read[0], Fetched::Broken { problem, .. } if problem.contains("no UTF-8")),
        "{:?}",
        read[0]
    );
    assert_eq!(record(&read[1])["text"], "ok");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: make uds3"]
async fn wrong_settings_are_refused_with_what_is_there() {
    let server = Server::start();
    server.sql(
        "CREATE TABLE t (id int PRIMARY KEY, text text, data json, twice int, hole int, raw bytea);
         INSERT INTO t SELECT n, 'Text', '{}', n / 2, nullif(n, 5), 'a' FROM generate_series(1, 20) AS n;
         CREATE TABLE secret (id int PRIMARY KEY, text text); CREATE USER reader PASSWORD 'reader'; GRANT SELECT ON t TO reader;",
    );
    let good = server.request("t");
    assert_eq!(all(&good).await.len(), 20);
    let key = |name: &str| with(&good, |settings| settings.key = Some(name.to_owned()));
    let query =
        |text: &str| with(&good, |settings| (settings.table, settings.query) = (None, Some(text.to_owned())));
    let url = |user: &str, more: &str| with(&good, |settings| settings.url = Some(server.url(user, more)));
    let cases = [
        (
            with(&good, |settings| settings.table = Some("nope".into())),
            "found public.secret, public.t; correct `table`",
        ),
        (
            with(&good, |settings| settings.fields = fields(&[("text", "inhalt")])),
            "no column `inhalt`; found `id`, `text`",
        ),
        (with(&good, |settings| settings.metadata = vec!["titel".into()]), "no column `titel`"),
        (with(&good, |settings| settings.fields = fields(&[("text", "raw")])), "convert_from(raw, 'UTF8')"),
        (with(&good, |settings| settings.filter = Some("nope = 1".into())), "correct the column in `filter`"),
        (with(&good, |settings| settings.filter = Some("id = ".into())), "42601"),
        (with(&good, |settings| settings.tenant = Some("a".into())), "`tenant` means nothing"),
        (key("nope"), "no column `nope` to order the rows by"),
        (key("data"), "type can be ordered"),
        (key("twice"), "stands in more than one row"),
        (key("hole"), "have no key (NULL)"),
        (query("SELECT id FROM t"), "the query has no column `text` with the text"),
        (query("SELEC"), "syntax error"),
        (query("SELECT id, text, nextval('s') FROM t"), "\"s\" does not exist"),
        (
            query("SELECT id, text, set_config('transaction_read_only', 'off', true), lo_create(0) FROM t"),
            "SQLSTATE 25",
        ),
        (
            with(&query("SELECT id, text, pg_sleep(1) FROM t"), |settings| {
                settings.timeout.0 = std::time::Duration::from_secs(1);
            }),
            "raise `timeout`",
        ),
        (url("owner:wrong", "postgres?sslmode=disable"), "password"),
        (url("owner", "postgres?sslmode=disable"), "`token_env`"),
        (url("nobody:x", "postgres?sslmode=disable"), "right user"),
        (url("owner:owner", "nope?sslmode=disable"), "correct the database in `url`"),
        (
            with(&url("reader:reader", "postgres?sslmode=disable"), |settings| {
                settings.table = Some("secret".into());
            }),
            "GRANT SELECT ON … TO reader",
        ),
        (with(&good, |settings| settings.token_env = Some("CLARA_NOT_SET".into())), "CLARA_NOT_SET"),
    ];
    for (request, expected) in cases {
        let said = refusal(&request).await;
        assert!(said.contains(expected), "expected `{expected}` in: {said}");
        assert!(!said.contains("owner:owner"), "{said}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_given_up_when_patience_ends() {
    let nowhere = request(RemoteSettings {
        url: Some(clara_runtime::config::Secret::new("postgres://owner@127.0.0.1:1/laws?sslmode=disable")),
        table: Some("t".to_owned()),
        patience: clara_runtime::config::HumanDuration(std::time::Duration::from_millis(250)),
        ..RemoteSettings::default()
    });
    let error = documents(&mut Postgres::open(&nowhere, None).unwrap()).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let said = error.to_string();
    assert!(said.contains("cannot connect") && said.contains("raise [sources.laws].patience"), "{said}");
    let parallel = refusal(&with(&nowhere, |settings| settings.parallel = 4)).await;
    assert!(parallel.contains("`parallel` means nothing to a source of kind postgres"), "{parallel}");
}

#[tokio::test]
async fn a_cursor_of_another_server_and_an_unknown_part_of_the_url_are_refused() {
    let settings = RemoteSettings {
        url: Some(clara_runtime::config::Secret::new("postgres://localhost/laws")),
        table: Some("t".to_owned()),
        ..RemoteSettings::default()
    };
    let request = request(settings);
    let foreign = Postgres::open(&request, Some(&json!({"bookmark": "x"}))).unwrap_err();
    assert!(foreign.to_string().contains("its cursor is not one of PostgreSQL"), "{foreign}");
    let unknown = clara_runtime::config::Secret::new("postgres://owner:secret@localhost/laws?nonsense=1");
    let said = refusal(&with(&request, |settings| settings.url = Some(unknown))).await;
    assert!(said.contains("`url` cannot be used") && !said.contains("secret"), "{said}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: make uds3"]
async fn tls_checks_the_server_and_shows_our_certificate() {
    let server = Server::start();
    server.sql("CREATE TABLE t (id int PRIMARY KEY, text text); INSERT INTO t VALUES (1, 'ok'); GRANT SELECT ON t TO certified;");
    let trusted = request(RemoteSettings {
        url: Some(server.url("owner:owner", "postgres?sslmode=verify-full")),
        ca_certificate: Some(server.tls("authority.pem")),
        ..server.request("t").settings
    });
    assert_eq!(all(&trusted).await.len(), 1);
    let certified = with(&trusted, |settings| {
        settings.url = Some(server.url("certified", "postgres"));
        settings.client_certificate = Some(server.tls("client.pem"));
        settings.client_key = Some(server.tls("client.key"));
    });
    assert_eq!(all(&certified).await.len(), 1);
    let cases = [
        (
            with(&trusted, |settings| settings.ca_certificate = Some(server.tls("client.pem"))),
            "its certificate is not trusted",
        ),
        (
            with(&trusted, |settings| settings.ca_certificate = Some(server.tls("server.key"))),
            "holds no certificate in PEM",
        ),
        (
            with(&trusted, |settings| settings.ca_certificate = Some("/nowhere.pem".into())),
            "cannot read /nowhere.pem",
        ),
        (
            with(&trusted, |settings| {
                let url = server.url("owner:owner", "postgres").reveal().replace("localhost", "127.0.0.1");
                settings.url = Some(clara_runtime::config::Secret::new(url));
            }),
            "its certificate is not trusted",
        ),
        (
            with(&certified, |settings| (settings.client_certificate, settings.client_key) = (None, None)),
            "certificate",
        ),
        (
            with(&certified, |settings| settings.client_key = Some(server.tls("server.key"))),
            "do not belong together",
        ),
    ];
    for (request, expected) in cases {
        let said = refusal(&request).await;
        assert!(said.contains(expected), "expected `{expected}` in: {said}");
    }
}
