//! Whole datasets from small sources.

mod shaping;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use clara_lifecycle::{
    dataset::{
        DatasetManifest, DropReason, DroppedDocument, Mend, OverlapMeasure, TrainingContent, TrainingRecord,
    },
    digest::Digest,
    spec::IngestOptions,
};
use clara_runtime::stop::StopReason;
use tempfile::TempDir;

use super::{GoldenText, GoldenTexts, IngestObserver, IngestRequest, run};
use crate::{error::IngestError, fetch::Collected};

const GOLDEN_OUTPUT: &str = "Das Vorhaben ist im Außenbereich nur zulässig, wenn öffentliche Belange nicht \
                             entgegenstehen und die ausreichende Erschließung gesichert ist.";

#[derive(Default)]
struct Watch {
    reports: RefCell<Vec<(u64, Option<u64>)>>,
    stop: Option<StopReason>,
}

impl IngestObserver for Watch {
    fn documents(&self, done: u64, total: Option<u64>) {
        self.reports.borrow_mut().push((done, total));
    }

    fn stop(&self) -> Option<StopReason> {
        self.stop
    }
}

/// A folder with sources and room for results.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn source(&self, name: &str, text: &str) -> &Self {
        let path = self.0.path().join("source").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn options(&self) -> IngestOptions {
        let source = self.0.path().join("source").to_str().unwrap().to_owned();
        IngestOptions { sources: vec![source], ..IngestOptions::default() }
    }

    fn out(&self) -> PathBuf {
        self.0.path().join("out")
    }

    fn run(&self, options: &IngestOptions) -> Result<DatasetManifest, IngestError> {
        self.run_watched(options, &Watch::default())
    }

    fn run_watched(&self, options: &IngestOptions, watch: &Watch) -> Result<DatasetManifest, IngestError> {
        self.run_with(options, &[], watch)
    }

    fn run_knowing(
        &self,
        options: &IngestOptions,
        known: &[PathBuf],
    ) -> Result<DatasetManifest, IngestError> {
        self.run_with(options, known, &Watch::default())
    }

    fn run_with(
        &self,
        options: &IngestOptions,
        known: &[PathBuf],
        watch: &Watch,
    ) -> Result<DatasetManifest, IngestError> {
        let scratch = tempfile::tempdir().unwrap();
        let request = IngestRequest {
            options,
            domain: &"verwaltungsrecht".parse().unwrap(),
            golden: Some(&golden()),
            known,
            base_model: None,
            collected: &Collected::default(),
            out: &self.out(),
            scratch: scratch.path(),
        };
        run(&request, watch)
    }

    fn records(&self, name: &str) -> Vec<TrainingRecord> {
        lines(&self.out().join(name)).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn dropped(&self) -> BTreeMap<String, DropReason> {
        let dropped = fs::read(self.out().join("dropped.jsonl.zst")).unwrap();
        let lines = String::from_utf8(zstd::decode_all(dropped.as_slice()).unwrap()).unwrap();
        let dropped = lines.lines().map(|line| serde_json::from_str::<DroppedDocument>(line).unwrap());
        dropped.map(|dropped| (dropped.document_id, dropped.reason)).collect()
    }
}

fn golden() -> GoldenTexts {
    GoldenTexts {
        reference: "bau-golden@1.0.0".into(),
        digest: Digest::of(b"golden"),
        samples: vec![GoldenText {
            sample_id: "bau-1".into(),
            prompt: "Wann ist ein Vorhaben im Außenbereich zulässig?".into(),
            expected_output: GOLDEN_OUTPUT.into(),
        }],
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn law(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        writeln!(
            text,
            r#"{{"id":"p-{n}","heading":"Paragraf {n}","text":"Der Bauantrag Nummer {n} ist schriftlich bei der Gemeinde einzureichen."}}"#
        )
        .unwrap();
        text
    })
}

#[test]
fn every_format_enters_one_dataset() {
    let bench = Bench::new();
    bench
        .source("a.jsonl", concat!(
            r#"{"instruction":"Nenne die Frist für den Widerspruch.","input":"§ 70 VwGO","output":"Ein Monat nach Bekanntgabe."}"#, "\n",
            r#"{"messages":[{"role":"user","content":"Was ist ein Verwaltungsakt?"},{"role":"assistant","content":"Eine Regelung mit Außenwirkung."}]}"#, "\n",
            r#"{"prompt":"Die Baugenehmigung ist zu erteilen, wenn ","completion":"keine Vorschriften entgegenstehen."}"#, "\n",
        ))
        .source("b/recht.md", &format!("# Recht\n\n{}", sentences(50)))
        .source("c.txt", "Die Satzung wird durch Beschluss des Rates aufgestellt und bekannt gemacht.");
    let manifest = bench.run(&IngestOptions { validation_share: 0.0, ..bench.options() }).unwrap();
    assert_eq!((manifest.documents_read, manifest.documents_kept), (5, 5));
    let records = bench.records("train.jsonl");
    let ids: Vec<_> = records.iter().map(|record| record.document_id.as_str()).collect();
    assert_eq!(
        ids,
        ["a.jsonl:1", "a.jsonl:2", "a.jsonl:3", "b/recht.md#1", "b/recht.md#2", "b/recht.md#3", "c.txt"]
    );
    assert!(matches!(&records[0].content, TrainingContent::Chat { messages } if messages.len() == 2));
    assert!(matches!(&records[2].content, TrainingContent::PromptCompletion { .. }));
    assert_eq!(manifest.train_records, 7);
    assert_eq!(manifest.source_files.len(), 3);
}

#[test]
fn every_document_is_kept_or_dropped_with_its_reason() {
    let bench = Bench::new();
    let mut text = law(200);
    for line in [
        r#"{"id":"foreign","domain":"steuerrecht","text":"Die Einkommensteuer wird durch Bescheid festgesetzt, Bauantrag."}"#.to_owned(),
        r#"{"id":"short","text":"Bauantrag"}"#.to_owned(),
        format!(r#"{{"id":"long","text":"{}"}}"#, "Bauantrag ".repeat(11_000)),
        r#"{"id":"again","text":"der BAUANTRAG nummer 3 ist schriftlich  bei der Gemeinde einzureichen."}"#.to_owned(),
        format!(r#"{{"id":"leak","text":"Bauantrag. {GOLDEN_OUTPUT}"}}"#),
        r#"{"id":"other","text":"Die Hundesteuer wird von der Stadt durch Satzung erhoben."}"#.to_owned(),
        r#"{"id":"broken","text":"#.to_owned(),
    ] {
        writeln!(text, "{line}").unwrap();
    }
    bench.source("law.jsonl", &text);
    let manifest = bench.run(&IngestOptions { query: Some("Bauantrag".into()), ..bench.options() }).unwrap();
    assert_eq!((manifest.documents_read, manifest.documents_kept), (207, 200));
    let dropped = bench.dropped();
    for (id, reason) in [
        ("foreign", DropReason::OtherDomain),
        ("short", DropReason::TooShort),
        ("long", DropReason::TooLong),
        ("again", DropReason::Duplicate),
        ("leak", DropReason::GoldenOverlap),
        ("other", DropReason::NotRelevant),
    ] {
        assert_eq!(dropped.get(id), Some(&reason), "{id}");
        assert_eq!(manifest.dropped[&reason], 1, "{id}");
    }
    let broken = dropped.iter().find(|(_, reason)| **reason == DropReason::Broken).unwrap().0;
    assert!(broken.ends_with("law.jsonl:207"), "{broken}");
    let overlap = &manifest.golden_overlap.as_ref().unwrap().removed[0];
    assert_eq!((overlap.document_id.as_str(), overlap.sample_id.as_str()), ("leak", "bau-1"));
    assert_eq!(
        (manifest.train_records, manifest.validation_records, manifest.validation_documents),
        (180, 20, 20)
    );
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let bench = Bench::new();
    bench
        .source("law.jsonl", &law(300))
        .source("weitere/text.md", &"Der Bauantrag wird geprüft. ".repeat(400));
    let options =
        IngestOptions { query: Some("Bauantrag Gemeinde".into()), top_k: Some(250), ..bench.options() };
    let files = ["train.jsonl", "validation.jsonl", "manifest.json", "dropped.jsonl.zst", "signatures.bin"];
    let read = || files.map(|name| fs::read(bench.out().join(name)).unwrap());
    bench.run(&options).unwrap();
    let first = read();
    fs::remove_dir_all(bench.out()).unwrap();
    bench.run(&options).unwrap();
    assert_eq!(read(), first);
    let manifest: DatasetManifest = serde_json::from_slice(&first[2]).unwrap();
    assert_eq!(manifest.train_digest, Digest::of(&first[0]));
    assert_eq!(manifest.validation_digest, Digest::of(&first[1]));
    assert_eq!(manifest.dropped, [(DropReason::BeyondTopK, 51)].into());
}

#[test]
fn where_the_sources_lie_does_not_change_their_digest() {
    let (here, there) = (Bench::new(), Bench::new());
    let manifests =
        [&here, &there].map(|bench| bench.source("law.jsonl", &law(20)).run(&bench.options()).unwrap());
    assert_eq!(manifests[0].source_digest, manifests[1].source_digest);
    let changed = Bench::new();
    let changed = changed.source("law.jsonl", &law(21)).run(&changed.options()).unwrap();
    assert_ne!(manifests[0].source_digest, changed.source_digest);
}

#[test]
fn too_many_broken_lines_end_the_stage_and_the_first_are_named() {
    let bench = Bench::new();
    bench.source("law.jsonl", &format!("{}kein json\n{{\"body\":\"x\"}}\n", law(98)));
    for query in [None, Some("Bauantrag".to_owned())] {
        let options = IngestOptions { query, ..bench.options() };
        let error = bench.run(&options).unwrap_err();
        let message = error.to_string();
        assert!(!error.is_retryable());
        assert!(
            message.contains("2 of 100") && message.contains("law.jsonl:99: not valid JSON"),
            "{message}"
        );
        assert!(
            message.contains("`--field text=NAME`") && message.contains("the file of --spec"),
            "{message}"
        );
        let tolerant = IngestOptions { max_broken_share: 0.02, ..options };
        assert_eq!(bench.run(&tolerant).unwrap().dropped, [(DropReason::Broken, 2)].into());
    }
}

#[test]
fn a_query_without_matches_is_named() {
    let bench = Bench::new();
    for (count, found) in [(5, "5 documents;"), (1, "1 document;")] {
        bench.source("law.jsonl", &law(count));
        let options = IngestOptions { query: Some("Fischerei".into()), ..bench.options() };
        let error = bench.run(&options).unwrap_err();
        assert!(!error.is_retryable());
        assert!(error.to_string().contains(&format!("`Fischerei` matches none of {found}")), "{error}");
    }
}

#[test]
fn a_dataset_without_documents_is_refused_with_the_counts() {
    let bench = Bench::new();
    bench.source("law.jsonl", &law(5));
    let error = bench.run(&IngestOptions { min_chars: 5_000, ..bench.options() }).unwrap_err();
    assert!(error.to_string().contains("no document is left of 5 (too_short: 5)"), "{error}");
}

#[test]
fn only_blank_lines_are_no_documents() {
    let bench = Bench::new();
    bench.source("law.jsonl", "\n\n \n");
    assert!(matches!(bench.run(&bench.options()), Err(IngestError::NoDocuments { .. })));
}

#[test]
fn options_that_would_have_no_effect_are_refused() {
    let bench = Bench::new();
    bench.source("law.jsonl", &law(5));
    for options in [
        IngestOptions { top_k: Some(3), ..bench.options() },
        IngestOptions { min_relevance: 0.5, ..bench.options() },
    ] {
        assert!(matches!(bench.run(&options), Err(IngestError::Options { .. })));
    }
}

#[test]
fn two_documents_with_one_id_stay_apart() {
    let bench = Bench::new();
    bench.source(
        "law.jsonl",
        concat!(
            r#"{"id":"x","text":"Der erste Absatz regelt den Antrag auf Genehmigung."}"#,
            "\n",
            r#"{"id":"x","text":"Der zweite Absatz regelt die Entscheidung der Behörde."}"#,
            "\n",
        ),
    );
    bench.run(&bench.options()).unwrap();
    let ids: Vec<_> = bench.records("train.jsonl").into_iter().map(|record| record.document_id).collect();
    assert_eq!(ids, ["x", "x@law.jsonl:2"]);
}

#[test]
fn progress_is_told_for_both_passes_and_the_second_knows_the_total() {
    let bench = Bench::new();
    bench.source("law.jsonl", &law(250));
    let watch = Watch::default();
    bench.run_watched(&IngestOptions { query: Some("Bauantrag".into()), ..bench.options() }, &watch).unwrap();
    let total = Some(250);
    assert_eq!(
        *watch.reports.borrow(),
        [(100, None), (200, None), (250, None), (100, total), (200, total), (250, total)]
    );
}

#[test]
fn a_reason_to_stop_ends_it() {
    let bench = Bench::new();
    bench.source("law.jsonl", &law(5));
    let watch = Watch { stop: Some(StopReason::Cancel), ..Watch::default() };
    let stopped = bench.run_watched(&bench.options(), &watch).unwrap_err();
    assert!(matches!(stopped, IngestError::Stopped(StopReason::Cancel)));
    assert!(!bench.out().join("manifest.json").exists());
}

#[test]
fn a_folder_that_cannot_be_written_may_be_tried_again() {
    let bench = Bench::new();
    bench.source("law.jsonl", &law(5));
    fs::write(bench.out(), "a file where a folder should be").unwrap();
    let error = bench.run(&bench.options()).unwrap_err();
    assert!(error.is_retryable());
    assert!(error.to_string().contains("cannot write"), "{error}");
}

/// Sentences of one subject without a common phrase.
fn sentences(count: usize) -> String {
    let sentence = |n| {
        format!(
            "Die Behörde {n} entscheidet {n} nach pflichtgemäßem {n} Ermessen {n} über den Antrag {n} endgültig. "
        )
    };
    (0..count).map(sentence).collect()
}

/// Sections that differ from each other, each with a sentence of its own.
fn sections(count: usize) -> Vec<String> {
    let subjects = ["Gebühr", "Frist", "Anhörung", "Satzung", "Zustellung", "Auflage", "Beteiligung"];
    let section = |n: usize| {
        let subject = subjects[n % subjects.len()];
        format!(
            "Abschnitt {n}: Über die {subject} Nummer {n} entscheidet Stelle {}, soweit Vorschrift {} nichts anderes zulässt. \
             Anträge der Gruppe {} werden binnen {} Wochen bearbeitet; Ausnahmen für Fall {} bestimmt Ordnung {}.",
            n * 3 + 1,
            n * 7 + 2,
            n * 11 + 3,
            n * 13 + 4,
            n * 17 + 5,
            n * 19 + 6
        )
    };
    (0..count).map(section).collect()
}

fn json_lines(texts: impl IntoIterator<Item = (String, String)>) -> String {
    texts.into_iter().fold(String::new(), |mut lines, (id, text)| {
        writeln!(lines, "{}", serde_json::json!({"id": id, "text": text})).unwrap();
        lines
    })
}

#[test]
fn cleaning_mends_masks_and_drops_with_reasons_and_counts() {
    let bench = Bench::new();
    let mut texts: Vec<(String, String)> =
        sections(30).into_iter().zip(0..).map(|(text, n): (String, u32)| (format!("s-{n}"), text)).collect();
    let near = texts[3].1.replace("Abschnitt", "Absatz");
    texts.push(("near".into(), near));
    texts.push((
        "broken-up".into(),
        "Die GebÃ¼hren fÃ¼r die Verwal-\ntung trägt, wer sie ver\u{AD}anlasst hat.".into(),
    ));
    texts.push((
        "mail".into(),
        "Fragen zum Verfahren beantwortet stelle@beispiel.de, Tel. 030 1234567, jederzeit.".into(),
    ));
    texts.push((
        "again".into(),
        "Wer den Antrag stellt, trägt die Kosten des Verfahrens und aller Gutachten dazu. ".repeat(6),
    ));
    let english = "The authority decides on the application at its due discretion and gives reasons for its decision in writing.";
    texts.push(("english".into(), english.into()));
    let paraphrase = "Nicht entgegenstehen dürfen öffentliche Belange, und gesichert ist die ausreichende Erschließung, \
                      wenn zulässig ist im Außenbereich nur das Vorhaben.";
    texts.push(("paraphrase".into(), paraphrase.into()));
    bench.source("law.jsonl", &json_lines(texts));
    let clean = clara_lifecycle::spec::CleanOptions { languages: vec!["de".into()], ..Default::default() };
    let manifest = bench.run(&IngestOptions { clean, ..bench.options() }).unwrap();
    let dropped = bench.dropped();
    let expected = [
        ("near", DropReason::NearDuplicate),
        ("again", DropReason::Repetitive),
        ("english", DropReason::OtherLanguage),
        ("paraphrase", DropReason::GoldenOverlap),
    ];
    assert_eq!(dropped, expected.map(|(id, reason)| (id.to_owned(), reason)).into());
    let removed = &manifest.golden_overlap.as_ref().unwrap().removed[0];
    assert_eq!((removed.document_id.as_str(), removed.measure), ("paraphrase", OverlapMeasure::Answer));
    let places = |mend: Mend| manifest.mended.get(&mend).map(|count| count.places);
    assert_eq!(places(Mend::Encoding), Some(2));
    assert_eq!((places(Mend::Hyphenation), places(Mend::Invisible)), (Some(1), Some(1)));
    assert_eq!((places(Mend::Email), places(Mend::Phone)), (Some(1), Some(1)));
    let records = [bench.records("train.jsonl"), bench.records("validation.jsonl")].concat();
    let text = |id: &str| {
        let record = records.iter().find(|record| record.document_id == id).unwrap();
        record.content.texts()[0].to_owned()
    };
    assert_eq!(text("broken-up"), "Die Gebühren für die Verwaltung trägt, wer sie veranlasst hat.");
    assert_eq!(text("mail"), "Fragen zum Verfahren beantwortet [E-MAIL], Tel. [TELEFON], jederzeit.");
}

#[test]
fn documents_of_an_earlier_dataset_are_left_out_when_asked_for() {
    let earlier = Bench::new();
    let texts: Vec<(String, String)> =
        sections(40).into_iter().zip(0..).map(|(text, n): (String, u32)| (format!("s-{n}"), text)).collect();
    earlier.source("law.jsonl", &json_lines(texts[..30].to_vec()));
    earlier.run(&earlier.options()).unwrap();
    let signatures = [earlier.out().join("signatures.bin")];
    let bench = Bench::new();
    let mut later = texts[20..].to_vec();
    later[0].1 = later[0].1.replace("Abschnitt", "Absatz");
    bench.source("law.jsonl", &json_lines(later));
    let clean = clara_lifecycle::spec::CleanOptions { skip_known: true, ..Default::default() };
    let options = IngestOptions { clean, ..bench.options() };
    let manifest = bench.run_knowing(&options, &signatures).unwrap();
    assert_eq!(manifest.dropped, [(DropReason::Known, 10)].into());
    assert_eq!(manifest.documents_kept, 10);
    assert_eq!(bench.run_knowing(&bench.options(), &signatures).unwrap().documents_kept, 20);
}

#[test]
fn a_language_that_cannot_be_told_is_refused() {
    let bench = Bench::new();
    bench.source("law.jsonl", &law(5));
    let clean = clara_lifecycle::spec::CleanOptions { languages: vec!["deu".into()], ..Default::default() };
    let error = bench.run(&IngestOptions { clean, ..bench.options() }).unwrap_err();
    assert!(error.to_string().contains("names `deu`"), "{error}");
}

#[test]
fn a_document_that_is_not_allowed_takes_no_place_among_the_most_relevant() {
    let bench = Bench::new();
    let line = |id: &str, licence: &str, text: &str| {
        format!("{}\n", serde_json::json!({"id": id, "license": licence, "text": text}))
    };
    let best = line("best", "proprietary", "Bauantrag, Bauantrag und nochmals Bauantrag bei der Gemeinde.");
    let second = line(
        "second",
        "cc0-1.0",
        "Wer bauen will, stellt einen Bauantrag bei der Gemeinde und wartet auf den Bescheid.",
    );
    bench.source("law.jsonl", &format!("{best}{second}"));
    let clean =
        clara_lifecycle::spec::CleanOptions { licences: vec!["CC0-1.0".into()], ..Default::default() };
    let options = IngestOptions { query: Some("Bauantrag".into()), top_k: Some(1), clean, ..bench.options() };
    let manifest = bench.run(&options).unwrap();
    assert_eq!(manifest.dropped, [(DropReason::NotAllowed, 1)].into());
    assert_eq!(manifest.most_relevant[0].document_id, "second");
}
