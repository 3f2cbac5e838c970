//! Tests of the job specification.

use super::*;
use crate::samples::spec;

fn fields(spec: &JobSpec) -> Vec<&'static str> {
    spec.problems().into_iter().map(|problem| problem.field).collect()
}

#[test]
fn a_sound_specification_has_no_problems() {
    assert_eq!(spec().problems(), []);
}

#[test]
fn all_problems_are_reported_together() {
    let mut spec = spec();
    spec.training.rank = 0;
    spec.training.learning_rate = -1.0;
    spec.ingest.sources.clear();
    spec.judge.url = Some("localhost".into());
    spec.priority = 12;
    let expected = ["training.rank", "training.learning_rate", "ingest.sources", "judge.url", "priority"];
    assert_eq!(fields(&spec), expected);
}

#[test]
fn a_ratio_of_lora_plus_below_one_is_refused() {
    let mut spec = spec();
    spec.training.loraplus_lr_ratio = 0.5;
    assert_eq!(fields(&spec), ["training.loraplus_lr_ratio"]);
    spec.training.loraplus_lr_ratio = 16.0;
    assert!(fields(&spec).is_empty());
}

#[test]
fn an_unknown_target_module_is_named() {
    let mut spec = spec();
    spec.training.target_modules.push("lm_head".into());
    assert!(spec.problems()[0].message.contains("`lm_head`"));
}

#[test]
fn limits_by_relevance_need_a_query() {
    let mut spec = spec();
    spec.ingest.top_k = Some(10);
    spec.ingest.min_relevance = 0.5;
    assert_eq!(fields(&spec), ["ingest.top_k", "ingest.min_relevance"]);
    spec.ingest.query = Some("Baurecht".into());
    assert_eq!(fields(&spec), [""; 0]);
}

#[test]
fn a_query_that_cannot_be_understood_is_refused_with_its_place() {
    let mut spec = spec();
    spec.ingest.query = Some("Bau \"Recht".into());
    assert_eq!(fields(&spec), ["ingest.query"]);
    let message = &spec.problems()[0].message;
    assert!(message.starts_with("`Bau \"Recht` cannot be understood at character 5"), "{message}");
    spec.ingest.query = Some(" ?! ".into());
    assert!(spec.problems()[0].message.contains("holds no word to search for"));
    spec.ingest.query = Some("Bau AND \"öffentliche Belange\" -§ 35 BauGB".into());
    assert_eq!(fields(&spec), [""; 0]);
}

#[test]
fn options_of_the_shape_that_would_have_no_effect_are_refused() {
    let mut spec = spec();
    spec.ingest.shape.questions = vec!["{{ heading }}?".into()];
    spec.ingest.shape.cite = true;
    spec.ingest.shape.weights = [("a".into(), 0.0)].into();
    spec.ingest.shape.cluster = Some(" ".into());
    let expected = ["questions", "cite", "weights", "cluster"].map(|name| format!("ingest.shape.{name}"));
    assert_eq!(fields(&spec), expected);
    spec.ingest.shape =
        ShapeOptions { records: RecordShape::Instruction, cite: true, ..ShapeOptions::default() };
    assert_eq!(fields(&spec), [""; 0]);
}

#[test]
fn a_curriculum_needs_a_training_that_keeps_the_order() {
    let mut spec = spec();
    spec.ingest.shape.order = RecordOrder::Curriculum;
    assert_eq!(fields(&spec), ["ingest.shape.order"]);
    spec.training.shuffle = false;
    assert_eq!(fields(&spec), [""; 0]);
}

#[test]
fn ranking_by_embeddings_needs_a_query_and_a_server() {
    let mut spec = spec();
    spec.ingest.rerank = Some(RerankOptions {
        endpoint: "localhost:8080".into(),
        model: String::new(),
        api_key_env: None,
        candidates: 0,
        weight: 2.0,
    });
    let expected =
        ["", ".weight", ".candidates", ".endpoint", ".model"].map(|name| format!("ingest.rerank{name}"));
    assert_eq!(fields(&spec), expected);
}

#[test]
fn a_password_in_the_endpoint_of_embeddings_is_refused_and_not_repeated() {
    let mut spec = spec();
    spec.ingest.query = Some("Photovoltaik".into());
    spec.ingest.rerank = Some(RerankOptions {
        endpoint: "https://user:geheim@host/v1".into(),
        model: "embedder".into(),
        api_key_env: None,
        candidates: 10,
        weight: 0.5,
    });
    assert_eq!(fields(&spec), ["ingest.rerank.endpoint"]);
    assert!(!spec.problems()[0].message.contains("geheim"));
}

#[test]
fn the_digest_follows_the_content_and_not_the_idempotency_key() {
    let keyed = JobSpec { idempotency_key: Some("nightly".into()), ..spec() };
    assert_eq!(keyed.digest().unwrap(), spec().digest().unwrap());
    let mut other = spec();
    other.training.seed += 1;
    assert_ne!(other.digest().unwrap(), spec().digest().unwrap());
}

#[test]
fn missing_fields_of_options_take_their_defaults_and_unknown_ones_are_refused() {
    let options: TrainingOptions = serde_json::from_str(r#"{"rank": 8}"#).unwrap();
    assert_eq!(options, TrainingOptions { rank: 8, ..TrainingOptions::default() });
    let refused = serde_json::from_str::<TrainingOptions>(r#"{"rnak": 8}"#).unwrap_err();
    assert!(refused.to_string().contains("rnak"));
}

#[test]
fn ranks_per_module_are_refused_with_the_reason() {
    let refused = serde_json::from_str::<TrainingOptions>(r#"{"rank_pattern": {"q_proj": 32}}"#).unwrap_err();
    assert!(refused.to_string().contains("vLLM and llama.cpp read one rank"), "{refused}");
    assert!(serde_json::from_str::<TrainingOptions>(r#"{"alpha_pattern": {"q_proj": 8.0}}"#).is_err());
    let empty: TrainingOptions = serde_json::from_str(r#"{"rank_pattern": {}}"#).unwrap();
    assert_eq!(empty, TrainingOptions::default());
}

#[test]
fn dropout_of_everything_is_refused() {
    let mut spec = spec();
    spec.training.dropout = 1.0;
    assert_eq!(fields(&spec), ["training.dropout"]);
    spec.training.dropout = 0.05;
    assert!(fields(&spec).is_empty());
}

#[test]
fn a_budget_without_prices_or_with_impossible_amounts_is_refused() {
    let mut spec = spec();
    let budget = JudgeBudget { most: Some(5.0), prompt_price: 0.1, ..JudgeBudget::default() };
    spec.judge.budget = Some(budget.clone());
    assert_eq!(fields(&spec), [""; 0]);
    let cases = [
        (JudgeBudget { prompt_price: 0.0, ..budget.clone() }, "judge.budget.most"),
        (JudgeBudget { reply_price: f64::NAN, ..budget.clone() }, "judge.budget.reply_price"),
        (JudgeBudget { most: Some(-1.0), ..budget.clone() }, "judge.budget.most"),
        (JudgeBudget { currency: " ".into(), ..budget }, "judge.budget.currency"),
    ];
    for (wrong, field) in cases {
        spec.judge.budget = Some(wrong);
        assert_eq!(fields(&spec), [field]);
    }
}

#[test]
fn costs_are_rounded_once_over_all_tokens() {
    let budget = JudgeBudget { prompt_price: 0.15, reply_price: 0.6, ..JudgeBudget::default() };
    // 100 · 0.15 + 20 · 0.6 = 27 millionths.
    assert_eq!(budget.cost_micros(100, 20), 27);
    assert_eq!((budget.cost_micros(3, 0), budget.cost_micros(4, 0)), (0, 1));
    assert_eq!(budget.cost_micros(1_000_000, 1_000_000), 750_000);
    assert_eq!(budget.amount(750_000), "0.750000 USD");
}
