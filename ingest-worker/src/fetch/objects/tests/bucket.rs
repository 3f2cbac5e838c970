//! Prefixes and files of buckets, in memory and over the protocol of S3.

use axum::{extract::Query, http::Method};
use object_store::{ObjectStoreExt as _, memory::InMemory};
use reqwest::Url;

use super::*;

async fn in_memory(objects: &[(&str, &str)], url: &str) -> Bucket {
    let store = InMemory::new();
    for (path, content) in objects {
        store.put(&(*path).into(), content.as_bytes().to_vec().into()).await.unwrap();
    }
    let url = Url::parse(url).unwrap();
    let path = object_store::path::Path::from_url_path(url.path()).unwrap();
    Bucket::over(Arc::new(store), path, url.path().ends_with('/'))
}

#[tokio::test]
async fn a_prefix_is_read_as_a_folder_in_the_order_of_its_names() {
    let bench = Bench::new("s3://eimer/recht/");
    let objects = [
        ("recht/b.jsonl", LAW),
        ("recht/2024/a.jsonl", LAW),
        ("recht/.versteckt.jsonl", LAW),
        ("recht/bild.png", "x"),
        ("rechtliches/c.jsonl", LAW),
    ];
    let bucket = in_memory(&objects, "s3://eimer/recht/").await;
    let source = bench.collect_from(bucket).await.unwrap();
    let collected = Collected::new(bench.folder.path(), vec![source]);
    let found = collected.discover(&bench.options).unwrap();
    let names: Vec<_> = found.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["2024/a.jsonl", "b.jsonl"]);
    assert_eq!(found.skipped, [".versteckt.jsonl", "bild.png"]);
    let shown: Vec<_> = collected.shown().values().map(ToString::to_string).collect();
    assert_eq!(shown, ["s3://eimer/recht/2024/a.jsonl", "s3://eimer/recht/b.jsonl"]);
}

#[tokio::test]
async fn a_prefix_goes_on_file_by_file_and_takes_changed_ones_again() {
    let bench = Bench::new("s3://eimer/recht");
    let objects = [("recht/a.jsonl", LAW), ("recht/b.jsonl", LAW)];
    bench.collect_from(in_memory(&objects, "s3://eimer/recht").await).await.unwrap();
    let mut saved = Saved::read(bench.folder.path()).unwrap();
    let source = &mut saved.sources[0];
    source.finished = false;
    source.files[1].entity = Some("another".into());
    let first = bench.folder.path().join(&source.files[0].path);
    fs::write(&first, LAW.replace("Bauantrag", "Behalten!")).unwrap();
    saved.write(bench.folder.path()).unwrap();
    let source = bench.collect_from(in_memory(&objects, "s3://eimer/recht").await).await.unwrap();
    assert!(fs::read_to_string(&first).unwrap().contains("Behalten!"));
    assert_eq!(fs::read_to_string(bench.folder.path().join(&source.files[1].path)).unwrap(), LAW);
    assert_eq!((source.fetched, source.files.len()), (2, 2));
}

#[tokio::test]
async fn a_prefix_without_files_is_refused() {
    let bench = Bench::new("s3://eimer/recht/");
    let refused =
        bench.collect_from(in_memory(&[("x.jsonl", LAW)], "s3://eimer/recht/").await).await.unwrap_err();
    assert!(refused.to_string().contains("there is nothing: no file begins with it"), "{refused}");
    let bucket = in_memory(&[("recht/a.bin", "x"), ("recht/b.bin", "x")], "s3://eimer/recht/").await;
    let refused = bench.collect_from(bucket).await.unwrap_err();
    assert!(refused.to_string().contains("none of what it holds (2 files)"), "{refused}");
    assert!(!refused.is_retryable());
}

#[tokio::test]
async fn a_file_that_changes_after_it_was_listed_is_left_to_another_attempt() {
    let url = "s3://eimer/recht/a.jsonl";
    let bench = Bench::new(url);
    let bucket = in_memory(&[("recht/a.jsonl", LAW)], url).await;
    let remote = Remote::new(url, Duration::from_secs(1), There::Bucket(bucket));
    let file = super::super::RemoteFile {
        name: "a.jsonl".into(),
        location: "recht/a.jsonl".into(),
        size: Some(10),
        entity: Some("another".into()),
    };
    let changed = remote.download(&file, bench.folder.path()).await.unwrap_err();
    assert!(matches!(changed, IngestError::SourcesChanged { .. }), "{changed:?}");
    assert!(changed.is_retryable());
}

/// As much of S3 as reading takes: one object `recht/a.jsonl` in the bucket `eimer`.
async fn s3(method: Method, UrlPath(path): UrlPath<String>, headers: HeaderMap) -> Response<Body> {
    let whole = law(4000);
    let answer = Response::builder()
        .header(header::ETAG, "\"e1\"")
        .header(header::LAST_MODIFIED, "Wed, 01 Jul 2026 10:00:00 GMT");
    if path != "eimer/recht/a.jsonl" {
        return Response::builder().status(StatusCode::NOT_FOUND).body(Body::empty()).unwrap();
    }
    if method == Method::HEAD {
        return answer.header(header::CONTENT_LENGTH, whole.len()).body(Body::empty()).unwrap();
    }
    assert_eq!(headers.get(header::IF_MATCH).unwrap(), "\"e1\"");
    let range = headers.get(header::RANGE).unwrap().to_str().unwrap().strip_prefix("bytes=").unwrap();
    let (from, to) = range.split_once('-').unwrap();
    let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
    let range = format!("bytes {from}-{to}/{}", whole.len());
    let answer = answer.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, range);
    answer.body(Body::from(whole.slice(from..=to))).unwrap()
}

async fn s3_list(Query(query): Query<BTreeMap<String, String>>) -> String {
    assert_eq!(query["prefix"], "recht/");
    format!(
        "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>recht/a.jsonl</Key>\
         <Size>{}</Size><LastModified>2026-07-01T10:00:00.000Z</LastModified><ETag>\"e1\"</ETag></Contents></ListBucketResult>",
        law(4000).len()
    )
}

#[tokio::test]
async fn a_bucket_is_read_over_the_protocol_of_s3() {
    let router = Router::new().route("/eimer", get(s3_list)).route("/{*path}", get(s3).head(s3));
    let base = serve(router).await;
    let variables = [
        ("AWS_ENDPOINT", base.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "eu-central-1"),
    ];
    for url in ["s3://eimer/recht/a.jsonl", "s3://eimer/recht/"] {
        let bench = Bench::new(url);
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let bucket = Bucket::new(&Url::parse(url).unwrap(), variables).unwrap();
        let source = bench.collect_from(bucket).await.unwrap();
        assert_eq!(fs::read(bench.folder.path().join(&source.files[0].path)).unwrap(), law(4000));
        assert_eq!(source.files[0].entity.as_deref(), Some("\"e1\""));
    }
}

#[tokio::test]
async fn a_machine_without_credentials_is_refused_at_once() {
    let router = Router::new().route("/{*path}", axum::routing::put(|| async { StatusCode::FORBIDDEN }));
    let metadata = serve(router).await;
    let variables = [("AWS_METADATA_ENDPOINT".to_owned(), metadata)];
    for url in ["s3://eimer/recht/a.jsonl", "s3://eimer/recht/"] {
        let bucket = Bucket::new(&Url::parse(url).unwrap(), variables.clone().into_iter()).unwrap();
        let error = Bench::new(url).collect_from(bucket).await.unwrap_err();
        assert!(!error.is_retryable(), "{error}");
        assert!(error.to_string().contains("there are no credentials for s3://eimer/recht"), "{error}");
        assert!(error.to_string().contains("AWS_SKIP_SIGNATURE=true"), "{error}");
    }
}
