//! The three schemas of UDS3, read with the settings that `docs/sources.md` gives.

use clara_runtime::config::RemoteSettings;
use serde_json::json;

use super::{all, refusal, request, server::Server, with};
use crate::fetch::{
    postgres::Postgres,
    reading::{goes_on_from_every_page, ids, record},
};

/// The settings under a heading of `docs/sources.md`, pointed at the private server.
fn documented(name: &str, server: &Server) -> crate::fetch::RemoteRequest {
    let page = include_str!("../../../../../docs/sources.md");
    let heading = format!("[sources.{name}]\n");
    let start =
        page.find(&heading).unwrap_or_else(|| panic!("docs/sources.md has no {heading}")) + heading.len();
    let text = page[start..].split("```").next().unwrap();
    let settings: RemoteSettings = toml::from_str(text).unwrap();
    let plain = server.request("");
    request(RemoteSettings {
        url: plain.settings.url.clone(),
        token_env: None,
        ca_certificate: None,
        page: 7,
        timeout: plain.settings.timeout,
        patience: plain.settings.patience,
        ..settings
    })
}

#[tokio::test]
#[ignore = "needs PostgreSQL: make uds3"]
async fn the_live_schema_holds_no_texts_and_says_where_they_lie() {
    let server = Server::start();
    server.sql(
        "CREATE TABLE documents (document_id TEXT PRIMARY KEY, file_path TEXT, classification TEXT, content_length BIGINT, legal_terms_count BIGINT,
             created_at TEXT, quality_score DOUBLE PRECISION, processing_status TEXT, search_vector tsvector);
         CREATE TABLE document_keywords (id SERIAL PRIMARY KEY, document_id TEXT REFERENCES documents, keyword TEXT, frequency INT);
         INSERT INTO documents SELECT 'd' || n, '/akten/' || n, 'verwaltungsrecht', 100, 2, '2025-11-01', 0.5, 'completed' FROM generate_series(1, 30) AS n;",
    );
    let bare = with(&server.request("documents"), |settings| settings.key = Some("document_id".into()));
    let mapped = with(&bare, |settings| settings.fields = super::fields(&[("id", "document_id")]));
    let said = refusal(&mapped).await;
    assert!(said.contains("no column `text`") && said.contains("they lie in Chroma"), "{said}");
    // Where another table has the texts, a query joins them.
    server.sql(
        "CREATE TABLE texts (document_id TEXT PRIMARY KEY, content TEXT); INSERT INTO texts SELECT document_id, 'Text von ' || document_id FROM documents;",
    );
    let joined = documented("uds3_live", &server);
    let read = goes_on_from_every_page(|cursor| Postgres::open(&joined, cursor)).await.unwrap();
    assert_eq!(read.len(), 30);
    let first = record(&read[0]);
    assert_eq!(
        (&first["id"], &first["domain"], &first["text"]),
        (&json!("d1"), &json!("verwaltungsrecht"), &json!("Text von d1"))
    );
}

#[tokio::test]
#[ignore = "needs PostgreSQL: make uds3"]
async fn the_schema_of_the_migrations_yields_the_extracted_content() {
    let server = Server::start();
    server.sql(
        "CREATE TYPE processing_status AS ENUM ('pending', 'completed'); CREATE TYPE document_category AS ENUM ('image', 'document');
         CREATE TABLE uds3_master_documents (document_id VARCHAR(64) PRIMARY KEY, uuid UUID DEFAULT gen_random_uuid(), file_path TEXT, original_filename TEXT,
             file_size_bytes BIGINT, file_hash_sha256 VARCHAR(64) UNIQUE, mime_type TEXT, created_at TIMESTAMPTZ DEFAULT now(), updated_at TIMESTAMPTZ,
             processing_status processing_status, document_category document_category, confidence_score NUMERIC(4,3), postgresql_refs JSONB, couchdb_refs JSONB,
             chromadb_refs JSONB, neo4j_refs JSONB, distribution_strategy TEXT, search_vector tsvector, metadata_json JSONB);
         CREATE TABLE uds3_processor_results (id SERIAL PRIMARY KEY, document_id VARCHAR(64) REFERENCES uds3_master_documents, processor_name TEXT, result_type TEXT,
             processor_status TEXT, result_data JSONB, metadata_extracted JSONB, quality_score NUMERIC(4,3));
         INSERT INTO uds3_master_documents (document_id, original_filename, file_hash_sha256, processing_status, document_category, confidence_score, metadata_json)
             SELECT 'doc_' || lpad(n::text, 4, '0'), 'akte' || n || '.pdf', md5(n::text), 'completed', 'document', 0.875,
             jsonb_build_object('rechtsgebiet', CASE n % 3 WHEN 0 THEN 'baurecht' ELSE 'verwaltungsrecht' END, 'behoerde', 'Bauamt') FROM generate_series(1, 60) AS n;
         INSERT INTO uds3_processor_results (document_id, processor_name, result_type, processor_status, result_data, quality_score)
             SELECT document_id, 'tika', 'content_extraction', 'completed', jsonb_build_object('text', 'Alt ' || document_id), 0.1 FROM uds3_master_documents
             UNION ALL SELECT document_id, 'tika', 'content_extraction', 'completed', jsonb_build_object('text', 'Text von ' || document_id), 0.9 FROM uds3_master_documents
             UNION ALL SELECT document_id, 'ner', 'entities', 'completed', '{}', 0.9 FROM uds3_master_documents;",
    );
    let request = documented("uds3_migrations", &server);
    let read = goes_on_from_every_page(|cursor| Postgres::open(&request, cursor)).await.unwrap();
    assert_eq!(read.len(), 60, "each document once, though it was extracted twice");
    let first = record(&read[0]);
    assert_eq!(first["text"], "Text von doc_0001");
    assert_eq!(
        (&first["domain"], &first["metadata_json.behoerde"]),
        (&json!("verwaltungsrecht"), &json!("Bauamt"))
    );
    assert_eq!(read.iter().filter(|document| record(document)["domain"] == "baurecht").count(), 20);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: make uds3"]
async fn the_schema_of_the_core_names_documents_whose_texts_lie_elsewhere() {
    let server = Server::start();
    server.sql(
        "CREATE TABLE documents_metadata (document_id TEXT PRIMARY KEY, title TEXT, file_path TEXT, file_hash TEXT, file_size BIGINT, rechtsgebiet TEXT, behoerde TEXT,
             document_type TEXT, language TEXT DEFAULT 'de', chunk_count INT, processing_status TEXT, created_at TIMESTAMP, updated_at TIMESTAMP);
         CREATE TABLE keywords_index (keyword TEXT, document_id TEXT);
         INSERT INTO documents_metadata (document_id, title, file_path, rechtsgebiet, created_at) SELECT 'd' || n, 'Titel ' || n, '/akten/' || n, 'verwaltungsrecht', '2025-11-01'
             FROM generate_series(1, 20) AS n;
         CREATE TABLE chunks (document_id TEXT, chunk_index INT, content TEXT);
         INSERT INTO chunks SELECT document_id, i, 'Teil ' || i FROM documents_metadata, generate_series(0, 12) AS i;",
    );
    let bare = with(&server.request("documents_metadata"), |settings| {
        settings.fields = super::fields(&[("id", "document_id")]);
    });
    assert!(refusal(&bare).await.contains("they lie in Chroma"));
    let request = documented("uds3_core", &server);
    let read = all(&request).await;
    assert_eq!(ids(&read).len(), 20);
    let first = record(&read[0]);
    assert_eq!(
        (&first["domain"], &first["title"], &first["created_at"]),
        (&json!("verwaltungsrecht"), &json!("Titel 1"), &json!("2025-11-01T00:00:00"))
    );
    let parts: Vec<String> = (0..=12).map(|part| format!("Teil {part}")).collect();
    assert_eq!(first["text"], parts.join("\n"));
}
