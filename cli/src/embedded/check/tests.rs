//! Tests of what speaks against a job on this machine.

use clara_lifecycle::spec::TrainingOptions;

use super::*;

fn model() -> ModelConfig {
    ModelConfig {
        hidden_size: 64,
        intermediate_size: 128,
        layers: 2,
        attention_heads: 4,
        key_value_heads: 1,
        head_dim: 16,
        vocab_size: 100,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        max_positions: 256,
        tie_word_embeddings: true,
        bos_token: None,
        eos_tokens: vec![0],
        variant: clara_gpu_worker::model::Variant::default(),
    }
}

#[test]
fn a_rank_above_the_smallest_layer_is_a_problem() {
    let training = TrainingOptions { rank: 65, sequence_length: 128, ..TrainingOptions::default() };
    let problems = training_problems(&training, &model());
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].field, "training.rank");
    assert!(problems[0].message.contains("choose 1 to 64"), "{}", problems[0].message);
}

#[test]
fn a_sequence_longer_than_the_model_knows_is_a_problem() {
    let training = TrainingOptions { rank: 4, sequence_length: 512, ..TrainingOptions::default() };
    let problems = training_problems(&training, &model());
    assert_eq!(problems.first().map(|problem| problem.field), Some("training.sequence_length"));
}

#[test]
fn a_folder_that_is_a_file_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    assert!(can_write(&file).is_err());
    assert!(can_write(&folder.path().join("new")).is_ok());
}

#[test]
fn a_source_is_looked_for_where_its_name_points() {
    let mut servers = Servers::new();
    let problem = source_problem("@gesetze", &servers).unwrap();
    assert!(problem.contains("[sources.gesetze]"), "{problem}");
    servers.insert("gesetze".to_owned(), clara_runtime::config::RemoteSettings::default());
    assert_eq!(source_problem("@gesetze", &servers), None);
    assert_eq!(source_problem("s3://eimer/recht/", &servers), None);
    let problem = source_problem("ftp://host/a.jsonl", &servers).unwrap();
    assert!(problem.contains("expected http, https, s3 or gs"), "{problem}");
    assert_eq!(source_problem("no/where/*.xml", &servers), None);
    let problem = source_problem("no/where.jsonl", &servers).unwrap();
    assert!(problem.starts_with("no/where.jsonl is not there"), "{problem}");
}

#[test]
fn what_the_ingest_would_refuse_is_a_problem_before_anything_is_queued() {
    let domain = "law".parse().unwrap();
    let asks = |language: &str| {
        let mut options = IngestOptions { sources: vec!["law.jsonl".to_owned()], ..IngestOptions::default() };
        options.clean.languages = vec![language.to_owned()];
        options
    };
    let problem = data_problem(&asks("klingon"), &domain).unwrap();
    assert_eq!(problem.field, "ingest");
    assert!(problem.message.contains("names `klingon`"), "{}", problem.message);
    assert_eq!(data_problem(&asks("de"), &domain), None);
}
