//! Tests of specifications from flags and files.

use clap::Parser;
use clara_lifecycle::rubric::{Language, Rubric, RubricChoice};

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    spec: SpecArgs,
}

const LEAST: [&str; 6] = ["clara", "--domain", "law", "--source", "law.jsonl", "--base-model=model.gguf"];

fn resolved(flags: &[&str]) -> Result<JobSpec> {
    let line = Line::try_parse_from(LEAST.iter().chain(flags)).unwrap();
    line.spec.resolve(Some("law-golden@1.0.0".parse().unwrap()))
}

#[test]
fn the_least_flags_give_a_sound_specification() {
    let spec = resolved(&[]).unwrap();
    assert_eq!(spec.problems(), vec![]);
    assert_eq!(spec.golden_dataset.to_string(), "law-golden@1.0.0");
    assert_eq!((spec.priority, spec.method), (5, Method::Lora));
}

#[test]
fn a_language_that_cannot_be_told_is_an_error_of_usage() {
    for codes in ["", "klingon", "de,"] {
        let error = Line::try_parse_from(LEAST.iter().chain(&["--languages", codes])).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{codes}");
    }
}

#[test]
fn every_flag_reaches_its_field() {
    type Look = fn(&JobSpec) -> String;
    let table: [(&[&str], Look, &str); 33] = [
        (&["--query", "Photovoltaik"], |spec| spec.ingest.query.clone().unwrap(), "Photovoltaik"),
        (&["--top-k", "7", "--query", "Bau"], |spec| spec.ingest.top_k.unwrap().to_string(), "7"),
        (&["--min-relevance", "0.3", "--query", "Bau"], |spec| spec.ingest.min_relevance.to_string(), "0.3"),
        (&["--records", "instruction"], |spec| format!("{:?}", spec.ingest.shape.records), "Instruction"),
        (&["--order", "shuffle"], |spec| format!("{:?}", spec.ingest.shape.order), "Shuffle"),
        (&["--languages", "DE,eng"], |spec| spec.ingest.clean.languages.join("+"), "de+en"),
        (&["--near-duplicates", "0.7"], |spec| spec.ingest.clean.near_duplicate_limit.to_string(), "0.7"),
        (&["--min-quality", "0.4"], |spec| spec.ingest.clean.min_quality.to_string(), "0.4"),
        (&["--keep-personal-data"], |spec| format!("{:?}", spec.ingest.clean.personal_data), "Keep"),
        (&["--drop-personal-data"], |spec| format!("{:?}", spec.ingest.clean.personal_data), "Drop"),
        (&["--since-last"], |spec| spec.ingest.since_last.to_string(), "true"),
        (&["--skip-known"], |spec| spec.ingest.clean.skip_known.to_string(), "true"),
        (&["--fresh"], |spec| spec.ingest.fresh.to_string(), "true"),
        (&["--field", "licence=lizenz"], |spec| spec.ingest.fields.licence.clone(), "lizenz"),
        (&["--field", "text=body"], |spec| spec.ingest.fields.text.clone(), "body"),
        (&["--rank", "4"], |spec| format!("{} {}", spec.training.rank, spec.training.alpha), "4 8"),
        (&["--rank", "4", "--alpha", "2"], |spec| spec.training.alpha.to_string(), "2"),
        (&["--seed", "7"], |spec| format!("{} {}", spec.training.seed, spec.ingest.seed), "7 7"),
        (
            &["--target-modules", "q_proj,v_proj"],
            |spec| spec.training.target_modules.join("+"),
            "q_proj+v_proj",
        ),
        (&["--max-steps", "3"], |spec| spec.training.max_steps.to_string(), "3"),
        (&["--gate-mode", "point"], |spec| spec.gate.mode.to_string(), "point"),
        (&["--review-threshold", "60"], |spec| spec.gate.review_at.to_string(), "60"),
        (&["--max-new-tokens", "12"], |spec| spec.generation.max_new_tokens.to_string(), "12"),
        (&["--adapter-version", "2.0.0"], |spec| spec.version.clone().unwrap().to_string(), "2.0.0"),
        (&["--label", "tenant=a"], |spec| spec.labels["tenant"].clone(), "a"),
        (&["--submitted-by", "anna"], |spec| spec.labels["submitted_by"].clone(), "anna"),
        (&["--judge-model", "m"], |spec| spec.judge.model.clone().unwrap(), "m"),
        (&["--judge-concurrency", "3"], |spec| spec.judge.concurrency.to_string(), "3"),
        (&["--judge-requests-per-minute", "60"], |spec| spec.judge.requests_per_minute.to_string(), "60"),
        (&["--judge-tokens-per-minute", "900"], |spec| spec.judge.tokens_per_minute.to_string(), "900"),
        (&["--no-judge-cache"], |spec| spec.judge.cache.to_string(), "false"),
        (
            &["--judge-budget", "5", "--judge-prompt-price", "0.25", "--judge-reply-price", "1"],
            |spec| format!("{:?}", spec.judge.budget.clone().unwrap()),
            "JudgeBudget { most: Some(5.0), prompt_price: 0.25, reply_price: 1.0, currency: \"USD\" }",
        ),
        (&["--method", "qlora"], |spec| spec.method.to_string(), "qlora"),
    ];
    for (flags, look, expected) in table {
        assert_eq!(look(&resolved(flags).unwrap()), expected, "{flags:?}");
    }
}

#[test]
fn a_higher_threshold_for_approval_raises_the_guard_band_too() {
    let gate = resolved(&["--auto-approve-threshold", "90"]).unwrap().gate;
    assert!((gate.approve_at - 90.0).abs() < 1e-9);
    assert!((gate.approve_lower_bound - 85.0).abs() < 1e-9);
}

#[test]
fn the_own_judge_gives_no_reasons_and_works_in_batches() {
    let own = resolved(&[]).unwrap().judge;
    assert_eq!((own.reasoning, own.concurrency), (false, 8));
    let elsewhere = resolved(&["--judge-url", "http://localhost:1/v1"]).unwrap().judge;
    assert_eq!((elsewhere.reasoning, elsewhere.concurrency), (true, 4));
}

#[test]
fn a_budget_without_prices_and_no_calls_at_once_are_refused_as_in_a_file() {
    let error = resolved(&["--judge-budget", "5", "--judge-concurrency", "0"]).unwrap_err().to_string();
    assert!(error.contains("judge.budget.most limits nothing"), "{error}");
    assert!(error.contains("judge.concurrency is 0; expected 1 to 256"), "{error}");
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.toml");
    let text =
        "domain = \"tax\"\npriority = 7\n[training]\nrank = 8\nepochs = 9\n[judge]\nreasoning = true\n";
    std::fs::write(&file, text).unwrap();
    let spec = resolved(&["--spec", file.to_str().unwrap(), "--epochs", "1"]).unwrap();
    assert_eq!((spec.domain.as_str(), spec.priority), ("law", 7));
    assert_eq!((spec.training.rank, spec.training.epochs, spec.training.sequence_length), (8, 1, 512));
    assert_eq!((spec.judge.reasoning, spec.judge.concurrency), (true, 8));
}

#[test]
fn a_rubric_of_a_file_travels_with_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let (file, rubric) = (folder.path().join("job.toml"), folder.path().join("own.json"));
    std::fs::write(&file, "[judge]\nrubric = \"own.json\"\n").unwrap();
    let arguments = ["--spec", file.to_str().unwrap()];
    let missing = format!("{:#}", resolved(&arguments).unwrap_err());
    assert!(missing.contains("own.json"), "{missing}");
    let mut own = Rubric::built_in(Language::English);
    own.version = "own-1".to_owned();
    std::fs::write(&rubric, serde_json::to_string(&own).unwrap()).unwrap();
    assert_eq!(resolved(&arguments).unwrap().judge.rubric, RubricChoice::Own(Box::new(own)));
    std::fs::write(&rubric, "{\"version\": 1}").unwrap();
    let broken = format!("{:#}", resolved(&arguments).unwrap_err());
    assert!(broken.contains("is not a rubric"), "{broken}");
}

#[test]
fn the_golden_dataset_of_the_file_is_taken_unless_a_flag_names_another() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.toml");
    std::fs::write(&file, "golden_dataset = \"golden.json\"\n").unwrap();
    let arguments = ["--spec", file.to_str().unwrap(), "--golden-dataset", "other"];
    let named = |flags: &[&str]| {
        let line = Line::try_parse_from(LEAST.iter().chain(flags)).unwrap();
        line.spec.golden_named().unwrap().unwrap()
    };
    assert_eq!((named(&arguments[..2]), named(&arguments)), ("golden.json".to_owned(), "other".to_owned()));
    assert_eq!(resolved(&arguments[..2]).unwrap().golden_dataset.to_string(), "law-golden@1.0.0");
}

#[test]
fn an_unknown_key_in_the_file_is_refused_by_name() {
    let error = format!("{:#}", SpecFile::parse("[training]\nrnak = 8\n").unwrap_err());
    assert!(error.contains("rnak"), "{error}");
}

#[test]
fn what_is_missing_is_named_with_its_flag() {
    let line = Line::try_parse_from(["clara", "--base-model", "m.gguf"]).unwrap();
    let error = line.spec.resolve(Some("g".parse().unwrap())).unwrap_err();
    assert!(crate::usage::is_usage(&error), "{error}");
    assert!(error.to_string().contains("domain is missing; give --domain NAME"), "{error}");
}

#[test]
fn impossible_values_are_errors_of_usage_and_told_together() {
    let error = resolved(&["--top-k", "0", "--judge-url", "localhost"]).unwrap_err();
    assert!(crate::usage::is_usage(&error), "{error}");
    let error = error.to_string();
    assert!(["ingest.top_k", "judge.url"].iter().all(|field| error.contains(field)), "{error}");
}

#[test]
fn a_variable_that_no_judge_worker_reads_as_a_key_is_an_error_of_usage() {
    let error =
        resolved(&["--judge-url", "http://localhost:1/v1", "--judge-api-key-env", "SECRET"]).unwrap_err();
    assert!(crate::usage::is_usage(&error), "{error}");
    assert!(error.to_string().contains("judge.api_key_env names the variable SECRET"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.toml");
    let text = "[[judge.panel]]\nurl = \"http://localhost:2/v1\"\napi_key_env = \"OTHER\"\n";
    std::fs::write(&file, text).unwrap();
    let error = resolved(&["--spec", file.to_str().unwrap()]).unwrap_err().to_string();
    assert!(error.contains("judge.panel names the variable OTHER"), "{error}");
}

#[test]
fn a_field_that_does_not_exist_is_refused() {
    let error = resolved(&["--field", "body=text"]).unwrap_err().to_string();
    assert!(error.contains("--field body=…"), "{error}");
}

#[test]
fn weights_name_their_sources_still_when_paths_become_absolute() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.toml");
    // Tests run in the folder of the package.
    let text = "[ingest]\nsources = [\"Cargo.toml\", \"@urteile\"]\n[ingest.shape.weights]\n\"Cargo.toml\" = 0.6\n\"@urteile\" = 0.4\n";
    std::fs::write(&file, text).unwrap();
    let mut ingest = data_in_file(Some(&file)).unwrap().ingest;
    SourceArgs::default().apply(&mut ingest);
    assert!(ingest.sources[0].starts_with('/') && ingest.sources[1] == "@urteile", "{:?}", ingest.sources);
    let weighted: Vec<&String> = ingest.shape.weights.keys().collect();
    assert!(ingest.sources.iter().all(|source| weighted.contains(&source)), "{weighted:?}");
}
