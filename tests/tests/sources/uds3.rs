//! The databases of UDS3 through the whole program, whole and by query: the datasets that a file of the same documents gives.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path};

use anyhow::{Context, Result, ensure};
use clara_tests::{Ended, Sandbox, exchange};
use serde_json::{Value, json};

use crate::{
    postgres::Postgres,
    served::records,
    themis::documents::{documents, lines},
};

const QUERY: &str = "Photovoltaik Baurecht";
/// Characters of a chunk, and those that it repeats of the one before.
const CHUNK: (usize, usize) = (400, 60);

/// The schema of the live adapter, and a table with the texts that it lacks.
const LIVE: &str = "
    CREATE TABLE documents (document_id TEXT PRIMARY KEY, file_path TEXT, classification TEXT, content_length BIGINT, legal_terms_count BIGINT,
        created_at TEXT, quality_score DOUBLE PRECISION, processing_status TEXT, search_vector tsvector);
    CREATE TABLE texts (document_id TEXT PRIMARY KEY, content TEXT);
    INSERT INTO documents SELECT doc ->> 'id', '/akten/' || (doc ->> 'id'), doc ->> 'domain', length(doc ->> 'text'), 2, '2025-11-01', 0.5, 'completed' FROM given;
    INSERT INTO documents VALUES ('zz-pending', '/akten/zz', 'verwaltungsrecht', 0, 0, '2025-11-01', 0.1, 'pending');
    INSERT INTO texts SELECT doc ->> 'id', doc ->> 'text' FROM given;";

/// The schema of the migrations, each document extracted twice, badly at first.
const MIGRATIONS: &str = "
    CREATE TYPE processing_status AS ENUM ('pending', 'completed'); CREATE TYPE document_category AS ENUM ('image', 'document');
    CREATE TABLE uds3_master_documents (document_id VARCHAR(64) PRIMARY KEY, uuid UUID DEFAULT gen_random_uuid(), file_path TEXT, original_filename TEXT,
        file_size_bytes BIGINT, file_hash_sha256 VARCHAR(64) UNIQUE, mime_type TEXT, created_at TIMESTAMPTZ DEFAULT now(), updated_at TIMESTAMPTZ,
        processing_status processing_status, document_category document_category, confidence_score NUMERIC(4,3), postgresql_refs JSONB, couchdb_refs JSONB,
        chromadb_refs JSONB, neo4j_refs JSONB, distribution_strategy TEXT, search_vector tsvector, metadata_json JSONB);
    CREATE TABLE uds3_processor_results (id SERIAL PRIMARY KEY, document_id VARCHAR(64) REFERENCES uds3_master_documents, processor_name TEXT, result_type TEXT,
        processor_status TEXT, result_data JSONB, metadata_extracted JSONB, quality_score NUMERIC(4,3));
    INSERT INTO uds3_master_documents (document_id, original_filename, file_hash_sha256, processing_status, document_category, metadata_json)
        SELECT doc ->> 'id', 'akte.pdf', md5(doc ->> 'id'), 'completed', 'document', jsonb_build_object('rechtsgebiet', doc ->> 'domain') FROM given;
    INSERT INTO uds3_processor_results (document_id, processor_name, result_type, processor_status, result_data, quality_score)
        SELECT doc ->> 'id', 'ocr', 'content_extraction', 'completed', jsonb_build_object('text', 'Photovoltaik und Baurecht, schlecht gelesen'), 0.1 FROM given
        UNION ALL SELECT doc ->> 'id', 'tika', 'content_extraction', 'completed', jsonb_build_object('text', doc ->> 'text'), 0.9 FROM given
        UNION ALL SELECT doc ->> 'id', 'ner', 'entities', 'completed', '{}', 0.9 FROM given;";

/// The schema of the core, and a table with the chunks that it lacks: one for each line.
const CORE: &str = "
    CREATE TABLE documents_metadata (document_id TEXT PRIMARY KEY, title TEXT, file_path TEXT, file_hash TEXT, file_size BIGINT, rechtsgebiet TEXT, behoerde TEXT,
        document_type TEXT, language TEXT DEFAULT 'de', chunk_count INT, processing_status TEXT, created_at TIMESTAMP, updated_at TIMESTAMP);
    CREATE TABLE chunks (document_id TEXT, chunk_index INT, content TEXT);
    INSERT INTO documents_metadata (document_id, title, file_path, rechtsgebiet, created_at)
        SELECT doc ->> 'id', 'Akte', '/akten/' || (doc ->> 'id'), doc ->> 'domain', '2025-11-01' FROM given;
    INSERT INTO chunks SELECT doc ->> 'id', line.number, line.content FROM given,
        regexp_split_to_table(doc ->> 'text', E'\\n') WITH ORDINALITY AS line (content, number);";

/// The datasets that each server must give: of all documents, and of those that a query finds.
struct Expected {
    sandbox: Sandbox,
    documents: Vec<Value>,
    whole: BTreeSet<String>,
    found: BTreeSet<String>,
}

impl Expected {
    /// The datasets of a file.
    fn of_file() -> Result<Self> {
        let (sandbox, documents) = (Sandbox::new(1)?, documents()?);
        fs::write(sandbox.path("laws.jsonl"), lines(&documents))?;
        let (whole, found) = (BTreeSet::new(), BTreeSet::new());
        let mut expected = Self { sandbox, documents, whole, found };
        expected.whole = expected.made("laws.jsonl", None)?;
        expected.found = expected.made("laws.jsonl", Some(QUERY))?;
        ensure!(
            !expected.found.is_empty() && expected.found.len() < expected.whole.len(),
            "the query tells nothing apart"
        );
        Ok(expected)
    }

    fn clara(&self, source: &str, more: &[&str]) -> Result<Ended> {
        let usual = ["ingest", "--domain", "verwaltungsrecht", "--source", source, "--out", "dataset"];
        let mut command = self.sandbox.command(&[&usual[..], more].concat())?;
        Ended::of(command.env("UDS3_PASSWORD", "owner").output()?)
    }

    /// The records of a source; every document is among them or among the dropped ones.
    fn made(&self, source: &str, query: Option<&str>) -> Result<BTreeSet<String>> {
        let config: &[&str] = if source.starts_with('@') { &["--config", "clara.toml"] } else { &[] };
        let query: Vec<&str> = query.iter().flat_map(|query| ["--query", query]).collect();
        let made = self.clara(source, &[config, &query, &["-o", "json"]].concat())?.expect(0)?.json()?;
        let manifest = &made["manifest"];
        let dropped: u64 =
            manifest["dropped"].as_object().context("no counts")?.values().filter_map(Value::as_u64).sum();
        let kept = manifest["documents_kept"].as_u64().context("no count")?;
        ensure!(
            manifest["documents_read"] == self.documents.len(),
            "{source} has other documents: {manifest}"
        );
        ensure!(
            kept + dropped == self.documents.len() as u64,
            "documents of {source} are missing: {manifest}"
        );
        let out = self.sandbox.path("dataset");
        let records = records(&out)?;
        fs::remove_dir_all(out)?;
        Ok(records)
    }

    /// Holds a server to give the datasets of the file, with the settings that `docs/sources.md` has for it.
    fn check(&self, name: &str, places: &[(&str, &str)]) -> Result<()> {
        fs::write(self.sandbox.path("clara.toml"), documented(name, places)?)?;
        let source = format!("@{name}");
        ensure!(self.made(&source, None)? == self.whole, "{source} gives another dataset than a file");
        ensure!(
            self.made(&source, Some(QUERY))? == self.found,
            "by query {source} gives another dataset than a file"
        );
        Ok(())
    }
}

/// The settings under a heading of `docs/sources.md`, with other places.
fn documented(name: &str, places: &[(&str, &str)]) -> Result<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sources.md"))?;
    let heading = format!("[sources.{name}]\n");
    let (_, settings) =
        page.split_once(&heading).with_context(|| format!("docs/sources.md has no {heading}"))?;
    let mut settings = heading + settings.split("```").next().unwrap_or_default();
    for (from, to) in places {
        ensure!(settings.contains(from), "the settings of {name} have no {from}");
        settings = settings.replace(from, to);
    }
    Ok(settings)
}

#[test]
fn each_schema_of_postgresql_gives_the_dataset_of_a_file_whole_and_by_query() -> Result<()> {
    let (server, expected) = (Postgres::start()?, Expected::of_file()?);
    let file = expected.sandbox.path("laws.jsonl");
    // Bytes that no JSON holds quote and divide nothing: each line is one value.
    server.sql(&format!(
        "CREATE TABLE given (doc jsonb);\n\\copy given FROM '{}' WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')\n{LIVE}{MIGRATIONS}{CORE}",
        file.display()
    ))?;
    let (url, authority) = (server.url(), server.authority().display().to_string());
    let places =
        [("postgres://clara@uds3-db/uds3", url.as_str()), ("/etc/clara/uds3-ca.pem", authority.as_str())];
    for name in ["uds3_live", "uds3_migrations", "uds3_core"] {
        expected.check(name, &places)?;
    }
    for (from, to, says) in [
        ("FROM documents_metadata", "FROM documents_meta", "relation \"documents_meta\" does not exist"),
        ("d.behoerde", "d.amt", "column d.amt does not exist"),
        ("text = \"content\"", "text = \"inhalt\"", "no column `inhalt`"),
        ("UDS3_PASSWORD", "UDS3_SECRET", "UDS3_SECRET"),
        ("localhost", "127.0.0.1", "its certificate is not trusted"),
    ] {
        let settings = documented("uds3_core", &places)?;
        ensure!(settings.contains(from), "no {from} in {settings}");
        fs::write(expected.sandbox.path("clara.toml"), settings.replace(from, to))?;
        let ended = expected.clara("@uds3_core", &["--config", "clara.toml"])?;
        ended.expect(1)?.says(&["@uds3_core cannot be read", says])?;
    }
    Ok(())
}

/// The chunks of all documents, as UDS3 writes them.
fn chunks(documents: &[Value]) -> Vec<Value> {
    let (length, overlap) = CHUNK;
    let mut chunks = Vec::new();
    for document in documents {
        let (id, text) =
            (document["id"].as_str().unwrap_or_default(), document["text"].as_str().unwrap_or_default());
        let letters: Vec<char> = text.chars().collect();
        for (index, start) in (0..letters.len()).step_by(length - overlap).enumerate() {
            let end = (start + length).min(letters.len());
            chunks.push(json!({
                "id": format!("{id}::chunk::{index}"),
                "text": letters[start..end].iter().collect::<String>(),
                "metadata": {
                    "document_id": id, "chunk_index": index, "start_offset": start, "rechtsgebiet": document["domain"],
                    "processing_status": "completed",
                },
            }));
            if end == letters.len() {
                break;
            }
        }
    }
    chunks
}

/// Sends a document to Chroma.
fn post(url: &str, path: &str, body: &Value) -> Result<Value> {
    let address = url
        .trim_start_matches("http://")
        .parse::<SocketAddr>()
        .with_context(|| format!("{url} names no port"))?;
    let (status, answer) = exchange(address, "POST", path, body)?;
    ensure!((200..300).contains(&status), "{path}: {status} {answer}");
    Ok(answer)
}

/// Makes a collection and fills it.
fn fill(url: &str, name: &str, chunks: &[Value]) -> Result<()> {
    let all = "/api/v2/tenants/default_tenant/databases/default_database/collections";
    let made = post(url, all, &json!({ "name": name }))?;
    let id = made["id"].as_str().with_context(|| format!("no id in {made}"))?;
    for some in chunks.chunks(200) {
        let column = |name: &str| some.iter().map(|chunk| chunk[name].clone()).collect::<Vec<_>>();
        let embeddings = vec![json!([0.5, 0.5]); some.len()];
        let body = json!({ "ids": column("id"), "documents": column("text"), "metadatas": column("metadata"), "embeddings": embeddings });
        post(url, &format!("{all}/{id}/add"), &body)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs Chroma: make uds3"]
fn live_chroma_gives_the_dataset_of_a_file_whole_and_by_query() -> Result<()> {
    let url = std::env::var("CHROMA_URL").context("scripts/uds3.sh sets CHROMA_URL")?;
    let expected = Expected::of_file()?;
    let mut chunks = chunks(&expected.documents);
    let other = json!({
        "id": "zz::chunk::0", "text": "Photovoltaik und Baurecht, noch nicht fertig gelesen.",
        "metadata": { "document_id": "zz", "chunk_index": 0, "rechtsgebiet": "verwaltungsrecht", "processing_status": "pending" },
    });
    chunks.push(other);
    fill(&url, "statutes", &chunks)?;
    let places = [("http://uds3-chroma:8000", url.as_str()), ("document_chunks", "statutes")];
    expected.check("uds3_chroma", &places)?;
    fs::write(
        expected.sandbox.path("clara.toml"),
        documented("uds3_chroma", &places)?.replace("statutes", "nope"),
    )?;
    let refused = expected.clara("@uds3_chroma", &["--config", "clara.toml"])?;
    refused.expect(1)?.says(&["no collection `nope`", "statutes", "correct `table`"])?;
    Ok(())
}
