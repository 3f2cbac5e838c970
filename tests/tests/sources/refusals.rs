//! Bad servers and bad documents: `clara ingest` ends with a message that says what to do, and publishes nothing.

use std::{fs, io::Write as _};

use anyhow::{Result, ensure};
use clara_tests::{Ended, Sandbox};

use crate::{
    served::{Themis, ingest, settings},
    themis::{
        authority::Authority,
        double::{Faults, Generation, Quirks, Store},
    },
};

const GENERATIONS: [Generation; 2] = [Generation::T25, Generation::T26];
const TABLE: &str = "table = \"documents\"";
/// More than any document may have.
const HUGE_BYTES: usize = 200 << 20;
/// Documents beside the bad ones.
const GOOD: usize = 30;

fn sections(quirks: Quirks, faults: Faults) -> Result<Themis> {
    Themis::start(quirks, faults, Store::sections(GOOD))
}

/// Holds the command to an error with these parts and without a dataset.
fn refused(sandbox: &Sandbox, ended: Ended, parts: &[&str]) -> Result<Ended> {
    let ended = ended.expect(1)?.says(parts)?;
    ensure!(!sandbox.path("dataset").exists(), "something was published:\n{}", ended.stderr);
    Ok(ended)
}

#[test]
fn wrong_names_are_refused_with_the_setting_to_correct() -> Result<()> {
    let sandbox = Sandbox::new(1)?;
    for generation in GENERATIONS {
        let themis = sections(Quirks::of(generation), Faults::default())?;
        let query = ["--query", "Verfahren", "--top-k", "5"];
        let cases: [(&str, &[&str], &[&str]); 7] = [
            ("table = \"dokumente\"", &[], &["table `dokumente`", "range index", "[sources.laws]"]),
            ("table = \"dokumente\"", &query, &["table `dokumente`", "No fulltext index", "[sources.laws]"]),
            (
                "table = \"documents\"\nfields = { text = \"inhalt\" }",
                &[],
                &["lack a text", "`inhalt`", "`content`", "[sources.laws].fields"],
            ),
            (
                "table = \"documents\"\nfields = { text = \"title\" }",
                &query,
                &[
                    "400: No fulltext index on documents.title",
                    "POST /index/create",
                    "\"type\":\"fulltext\"",
                    "\"aql\"",
                ],
            ),
            (
                "table = \"documents\"\nkey = \"title\"",
                &[],
                &["range index on column: title", "\"type\":\"range\"", "[sources.laws].key"],
            ),
            ("table = \"documents\"\nroute = \"fulltext\"", &[], &["needs a query", "[sources.laws].route"]),
            (TABLE, &["--source", "@nirgends"], &["@nirgends", "@laws"]),
        ];
        for (more, args, says) in cases {
            refused(&sandbox, ingest(&sandbox, &themis.settings(more), None, args)?, says)?;
        }
    }
    Ok(())
}

#[test]
fn a_token_that_is_missing_or_has_expired_is_refused_without_being_shown() -> Result<()> {
    let sandbox = Sandbox::new(1)?;
    for generation in GENERATIONS {
        let themis = sections(
            Quirks { token: Some("right-secret".to_owned()), ..Quirks::of(generation) },
            Faults::default(),
        )?;
        let named = themis.settings(&format!("{TABLE}\ntoken_env = \"THEMIS_TOKEN\""));
        let missing = ["the environment variable THEMIS_TOKEN is not set", "[sources.laws].token_env"];
        refused(&sandbox, ingest(&sandbox, &named, None, &[])?, &missing)?;
        let expired = ["401: Token has expired", "renew what [sources.laws].token_env names"];
        let ended = refused(&sandbox, ingest(&sandbox, &named, Some("old-secret"), &[])?, &expired)?;
        ensure!(!ended.stderr.contains("old-secret"), "the token is shown: {}", ended.stderr);
        let none = ["401: Missing Authorization header", "name its variable in [sources.laws].token_env"];
        refused(&sandbox, ingest(&sandbox, &themis.settings(TABLE), None, &[])?, &none)?;
        ingest(&sandbox, &named, Some("right-secret"), &[])?.expect(0)?;
        fs::remove_dir_all(sandbox.path("dataset"))?;
    }
    Ok(())
}

#[test]
fn a_certificate_of_another_host_or_authority_is_refused() -> Result<()> {
    let sandbox = Sandbox::new(1)?;
    let folder = sandbox.path("tls");
    fs::create_dir(&folder)?;
    let (ours, other) = (Authority::new(&folder, "ours")?, Authority::new(&folder, "other")?);
    let trusting = |url: &str, authority: &Authority| {
        let authority = authority.certificate();
        settings(url, &format!("{TABLE}\nca_certificate = \"{}\"\npatience = \"2s\"", authority.display()))
    };
    let elsewhere = ours.serve("themis.example", false)?;
    let ended = ingest(&sandbox, &trusting(&elsewhere, &ours), None, &[])?;
    refused(&sandbox, ended, &["is not trusted", "another host", "[sources.laws].url"])?;
    let here = ours.serve("localhost", false)?;
    let ended = ingest(&sandbox, &trusting(&here, &other), None, &[])?;
    refused(&sandbox, ended, &["is not trusted", "[sources.laws].ca_certificate"])?;
    // The right one lets the request through to a server that has no such route.
    let ended = ingest(&sandbox, &trusting(&here, &ours), None, &[])?;
    refused(&sandbox, ended, &["404: Reached"])?;
    Ok(())
}

#[test]
fn a_server_that_answers_or_hangs_for_ever_is_given_up_when_patience_ends() -> Result<()> {
    let sandbox = Sandbox::new(1)?;
    let impatient = format!("{TABLE}\nroute = \"aql\"\ntimeout = \"1s\"\npatience = \"1s\"");
    let (old, new) = (Quirks::of(Generation::T25), Quirks::of(Generation::T26));
    let cases: [(Quirks, Faults, &[&str]); 3] = [
        (
            Quirks { stuck: true, ..old },
            Faults::default(),
            &["rows again that were read already", "[sources.laws].patience"],
        ),
        (new.clone(), Faults { hang: 1000, ..Faults::default() }, &["patience"]),
        (new, Faults { too_many: 1000, ..Faults::default() }, &["patience"]),
    ];
    for (quirks, faults, says) in cases {
        let themis = sections(quirks, faults)?;
        let ended = ingest(&sandbox, &themis.settings(&impatient), None, &[])?;
        refused(&sandbox, ended.says(&["@laws gave no answer"])?, says)?;
    }
    Ok(())
}

/// A document as JSON that is no UTF-8, with its text in `field`.
fn not_utf_8(field: &str) -> Vec<u8> {
    let mut json = format!("{{\"id\":\"z1\",\"{field}\":\"Das Verfahren f").into_bytes();
    json.push(b'\xfc');
    json.extend(b"r den Antrag.\",\"domain\":\"verwaltungsrecht\"}");
    json
}

/// A document as JSON of 200 MB, with its text in `field`.
fn huge(field: &str) -> Vec<u8> {
    format!("{{\"id\":\"z2\",\"{field}\":\"{}\"}}", "x".repeat(HUGE_BYTES)).into_bytes()
}

#[test]
fn a_document_of_200_mb_and_one_that_is_no_utf_8_are_named_and_stop_no_other() -> Result<()> {
    let sandbox = Sandbox::new(1)?;
    let mut store = Store::sections(GOOD);
    store.documents.insert("z1".to_owned(), not_utf_8("content"));
    store.documents.insert("z2".to_owned(), huge("content"));
    let themis = Themis::start(Quirks::of(Generation::T26), Faults::default(), store)?;
    let served = themis.settings(TABLE);
    let broken = format!("too many documents are broken: 2 of {}", GOOD + 2);
    let says = [broken.as_str(), "it is no UTF-8", "it is longer than 64 MiB", "@laws:", "max_broken_share"];
    refused(&sandbox, ingest(&sandbox, &served, None, &[])?, &says)?;
    fs::write(sandbox.path("tolerant.toml"), "[ingest]\nmax_broken_share = 0.1\n")?;
    let tolerated =
        ingest(&sandbox, &served, None, &["--spec", "tolerant.toml", "-o", "json"])?.expect(0)?.json()?;
    let manifest = &tolerated["manifest"];
    ensure!(manifest["dropped"]["broken"] == 2 && manifest["documents_read"] == GOOD + 2, "{manifest}");
    Ok(())
}

#[test]
fn the_same_documents_in_a_file_are_named_by_their_lines() -> Result<()> {
    let sandbox = Sandbox::new(1)?;
    let mut file = fs::File::create(sandbox.path("laws.jsonl"))?;
    for number in 0..GOOD {
        writeln!(
            file,
            "{{\"id\":\"a{number}\",\"text\":\"Der Antrag Nummer {number} ist schriftlich einzureichen.\"}}"
        )?;
    }
    for line in [not_utf_8("text"), huge("text")] {
        file.write_all(&line)?;
        file.write_all(b"\n")?;
    }
    drop(file);
    let args = ["ingest", "--domain", "verwaltungsrecht", "--source", "laws.jsonl", "--out", "dataset"];
    let broken = format!("too many documents are broken: 2 of {}", GOOD + 2);
    let says = [broken.as_str(), "laws.jsonl:31", "UTF-8", "laws.jsonl:32", "max_broken_share"];
    refused(&sandbox, sandbox.clara(&args)?, &says)?;
    Ok(())
}
