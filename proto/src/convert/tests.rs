//! Tests of the conversions: there and back unchanged, and what is refused by name.

use std::collections::BTreeMap;

use clara_lifecycle::{
    attempt::{Assignment, ChampionInput, Progress},
    calibration::{JudgeStanding, KnownJudge},
    curve::{CurvePoint, StepPoint, ValidationPoint},
    dataset::DropReason,
    gate::{Decision, GateEvidence, GateMode, GatePolicy, GateReport, PairedDelta, Reason, Stratum},
    golden::Difficulty,
    hello::{Hello, ProtocolRange, Welcome},
    id::{Attempt, Fence, JobId},
    job::AttemptKey,
    log::{LogLevel, LogLine, LogPart},
    resources::Resources,
    results::{
        AnswersResult, DatasetResult, EarlierDatasets, EvaluationResult, RolloutResult, StageResult,
        StoredDataset, TrainingResult,
    },
    retry::RetryPolicy,
    rubric::{AppliesWhen, Language, Rubric, RubricChoice},
    samples,
    score::Criterion,
    spec::{
        AdapterInit, CleanOptions, FieldNames, GenerationOptions, IngestOptions, JobSpec, JudgeBudget,
        JudgeCalls, JudgeOptions, Method, Overlong, PanelJudge, PersonalData, RecordOrder, RecordShape,
        RerankOptions, Schedule, ShapeOptions, TrainingOptions,
    },
    stage::Stage,
    time::Timestamp,
};

use prost::Message as _;

use super::{ConvertError, claim_key, welcome_to_wire};
use crate::v1;

/// Every field differs from its default and from its neighbours, so that two swapped fields show.
fn ingest() -> IngestOptions {
    let name = |name: &str| name.to_owned();
    IngestOptions {
        sources: vec![name("a.jsonl"), name("b")],
        fields: FieldNames {
            text: name("body"),
            instruction: name("frage"),
            input: name("eingabe"),
            output: name("antwort"),
            messages: name("turns"),
            prompt: name("anfang"),
            completion: name("ende"),
            id: name("nummer"),
            domain: name("gebiet"),
            licence: name("lizenz"),
            classification: name("einstufung"),
        },
        query: Some(name("Baurecht")),
        rerank: Some(RerankOptions {
            endpoint: name("http://embeddings/v1"),
            model: name("embedder"),
            api_key_env: Some(name("EMBEDDINGS_KEY")),
            candidates: 700,
            weight: 0.71,
        }),
        since_last: true,
        fresh: true,
        clean: CleanOptions {
            normalize: false,
            boilerplate: true,
            languages: vec![name("de"), name("en")],
            near_duplicate_limit: 0.72,
            golden_similarity_limit: 0.73,
            skip_known: true,
            min_quality: 0.74,
            repetition_limit: 0.75,
            personal_data: PersonalData::Drop,
            licences: vec![name("CC0-1.0")],
            classifications: vec![name("public")],
        },
        shape: ShapeOptions {
            records: RecordShape::Instruction,
            questions: vec![name("Was regelt {{ heading }}?")],
            cite: true,
            order: RecordOrder::Curriculum,
            cluster: Some(name("law")),
            weights: BTreeMap::from([(name("@gesetze"), 0.76)]),
        },
        top_k: Some(11),
        min_relevance: 0.12,
        min_chars: 13,
        max_chars: 1400,
        chunk_chars: 150,
        overlap_ngram_words: 6,
        overlap_limit: 0.17,
        validation_share: 0.18,
        max_broken_share: 0.19,
        seed: 20,
    }
}

fn training() -> TrainingOptions {
    TrainingOptions {
        rank: 21,
        alpha: 22.5,
        dropout: 0.23,
        target_modules: vec!["q_proj".to_owned(), "v_proj".to_owned()],
        epochs: 24,
        max_steps: 25,
        learning_rate: 0.026,
        schedule: Schedule::Linear,
        warmup_ratio: 0.27,
        weight_decay: 0.28,
        max_grad_norm: 0.29,
        sequence_length: 300,
        accumulation: 31,
        packing: false,
        shuffle: true,
        validate_every: 32,
        checkpoint_every: 33,
        seed: 34,
        use_rslora: true,
        loraplus_lr_ratio: 16.0,
        min_lr_ratio: 0.35,
        decay_ratio: 0.36,
        early_stopping_patience: 37,
        init: AdapterInit::Pissa,
        overlong: Overlong::Drop,
        ..TrainingOptions::default()
    }
}

fn rubric() -> Rubric {
    let mut rubric = Rubric::built_in(Language::English);
    rubric.version = "own-1".to_owned();
    rubric.criteria[1].applies_when = AppliesWhen::Context;
    rubric.criteria[2].hard_fail = Some(1.5);
    rubric.criteria[3].weight = 4.5;
    rubric
}

fn judge() -> JudgeOptions {
    JudgeOptions {
        url: Some("http://localhost:1/v1".to_owned()),
        model: Some("judge".to_owned()),
        api_key_env: Some("JUDGE_KEY".to_owned()),
        reasoning: false,
        concurrency: 51,
        max_tries: 12,
        timeout_seconds: 53,
        calibrated: true,
        requests_per_minute: 54,
        tokens_per_minute: 55_000,
        cache: false,
        budget: Some(JudgeBudget {
            most: Some(5.6),
            prompt_price: 0.57,
            reply_price: 5.8,
            currency: "EUR".to_owned(),
        }),
        rubric: RubricChoice::Own(Box::new(rubric())),
        calls: JudgeCalls::Each,
        logprobs: false,
        repeats: 5,
        panel: vec![PanelJudge {
            url: "http://localhost:2/v1".to_owned(),
            model: Some("second".to_owned()),
            api_key_env: Some("SECOND_API_KEY".to_owned()),
        }],
        pairwise: true,
        canaries: 7,
        canary_limit: 33.0,
    }
}

fn gate() -> GatePolicy {
    GatePolicy {
        mode: GateMode::Point,
        approve_at: 91.0,
        review_at: 72.0,
        pass_at: 63.0,
        approve_lower_bound: 84.0,
        champion_margin: 1.5,
        min_samples: 26,
        max_unscored_share: 0.07,
        seed: 68,
        strict: true,
        min_stratum_samples: 11,
        max_hard_failure_share: 0.02,
        reject_hard_failure_share: 0.2,
        max_flip_rate: 0.35,
        max_evaluations: 9,
    }
}

fn spec() -> JobSpec {
    JobSpec {
        ingest: ingest(),
        golden_dataset: "law-golden@1.2.0".parse().unwrap(),
        method: Method::Dora,
        training: training(),
        generation: GenerationOptions {
            max_new_tokens: 41,
            temperature: 0.42,
            seed: 43,
            system_prompt: Some("Antworte knapp.".to_owned()),
        },
        judge: judge(),
        gate: gate(),
        retry: RetryPolicy { max_attempts: 7, first_pause_ms: 71, longest_pause_ms: 72 },
        version: Some("2.1.0".parse().unwrap()),
        rollout_targets: vec!["http://server".to_owned()],
        priority: 8,
        labels: BTreeMap::from([("tenant".to_owned(), "nord".to_owned())]),
        idempotency_key: Some("once".to_owned()),
        resource_class: "gpu80".parse().unwrap(),
        ..samples::spec()
    }
}

fn gate_report() -> GateReport {
    GateReport {
        decision: Decision::Review,
        reasons: vec![Reason { code: "no_spread".to_owned(), text: "every sample has 80".to_owned() }],
        mode: GateMode::Bounds,
        mean: Some(80.0),
        lower_bound: Some(79.0),
        upper_bound: Some(81.0),
        scored: 29,
        unscored: 1,
        pass_rate: Some(0.9),
        champion_delta: Some(PairedDelta { mean: 1.0, lower_bound: -0.5, upper_bound: 2.5 }),
        evidence: GateEvidence {
            clusters: 12,
            effective_samples: Some(17.5),
            strata: vec![Stratum {
                difficulty: Difficulty::Hard,
                samples: 9,
                mean: 71.0,
                lower_bound: Some(66.0),
                upper_bound: None,
            }],
            hard_failures: 2,
            injections: 3,
            evaluations: 4,
            standing: JudgeStanding::stale("the rubric changed".to_owned()),
        },
    }
}

fn dataset() -> DatasetResult {
    DatasetResult {
        dataset: samples::artifact("dataset"),
        documents_read: 10,
        documents_kept: 7,
        dropped: BTreeMap::from([(DropReason::Duplicate, 2), (DropReason::GoldenOverlap, 1)]),
        train_records: 6,
        validation_records: 1,
        source_digest: samples::digest("sources"),
        key: Some(samples::digest("key")),
        reused_from: Some("job-0".parse().unwrap()),
    }
}

fn results() -> Vec<StageResult> {
    vec![
        StageResult::Ingest(dataset()),
        StageResult::Train(TrainingResult {
            adapter: samples::artifact("adapter"),
            report: samples::artifact("report"),
            base_model: "tiny".to_owned(),
            base_model_digest: samples::digest("tiny"),
            validation_loss_before: Some(5.5),
            validation_loss_after: None,
            training_loss: 4.25,
            steps: 12,
            tokens: 3456,
        }),
        StageResult::Generate(AnswersResult {
            answers: samples::artifact("answers"),
            candidate_nll: 1.5,
            champion_nll: Some(1.75),
            base_nll: 2.0,
        }),
        StageResult::Judge(EvaluationResult {
            evaluation: samples::artifact("evaluation"),
            samples: 30,
            unscored: 2,
            average_score: Some(77.5),
            pass_rate: None,
        }),
        StageResult::Gate(gate_report()),
        StageResult::Rollout(RolloutResult {
            adapter_id: "law-lora-v1.1.0".to_owned(),
            previous_champion: Some("law-lora-v1.0.0".to_owned()),
            targets: vec![clara_lifecycle::results::TargetRollout {
                target: "production".to_owned(),
                name: "law-lora-v1.1.0-0123abcd".to_owned(),
                replicas: vec!["http://a:8000".to_owned(), "http://b:8000".to_owned()],
                proof: "log-probabilities agree".to_owned(),
            }],
        }),
    ]
}

fn refused<T: std::fmt::Debug>(result: Result<T, ConvertError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_specification_comes_back_as_it_went() {
    assert_eq!(JobSpec::try_from(v1::JobSpec::from(spec())), Ok(spec()));
}

#[test]
fn a_specification_with_defaults_comes_back_as_it_went() {
    let spec = samples::spec();
    assert_eq!(JobSpec::try_from(v1::JobSpec::from(spec.clone())), Ok(spec));
}

#[test]
fn the_result_of_every_stage_comes_back_as_it_went() {
    let stages: Vec<_> = results().iter().map(StageResult::stage).collect();
    assert_eq!(stages, Stage::ALL, "a stage has no sample result");
    for result in results() {
        assert_eq!(StageResult::try_from(v1::StageResult::from(result.clone())), Ok(result));
    }
}

#[test]
fn an_assignment_comes_back_as_it_went() {
    let full = Assignment {
        job: "job-1".parse().unwrap(),
        stage: Stage::Rollout,
        attempt: Attempt(3),
        fence: Fence(9),
        spec: spec(),
        golden: samples::golden_input(),
        results: results(),
        adapter_id: Some("law-lora-v1.1.0".to_owned()),
        champion: Some(ChampionInput {
            adapter_id: "law-lora-v1.0.0".to_owned(),
            adapter: samples::artifact("champion"),
        }),
        checkpoint: Some(samples::artifact("checkpoint")),
        calibrations: vec![KnownJudge {
            judge_id: "judge#1-2".to_owned(),
            model: "judge".to_owned(),
            prompt_digest: samples::digest("prompt"),
            rubric_digest: samples::digest("rubric"),
            fingerprint: Some("fp".to_owned()),
            standing: JudgeStanding::calibrated("they agree".to_owned()),
        }],
        judge_offsets: BTreeMap::from([(
            "judge#1".to_owned(),
            BTreeMap::from([(Criterion::Accuracy, -0.5), (Criterion::Style, 1.25)]),
        )]),
        evaluations: 4,
        earlier: EarlierDatasets {
            same_options: vec![StoredDataset { job: "job-0".parse().unwrap(), result: dataset() }],
            family: vec![samples::artifact("earlier")],
        },
    };
    let bare = Assignment {
        stage: Stage::Ingest,
        results: Vec::new(),
        adapter_id: None,
        champion: None,
        checkpoint: None,
        calibrations: Vec::new(),
        judge_offsets: BTreeMap::new(),
        earlier: EarlierDatasets::default(),
        ..full.clone()
    };
    for assignment in [full, bare] {
        assert_eq!(Assignment::try_from(v1::Assignment::from(assignment.clone())), Ok(assignment));
    }
}

#[test]
fn progress_comes_back_as_it_went() {
    let full = Progress {
        counter: 5,
        done: 4,
        total: Some(40),
        unit: "steps".to_owned(),
        figures: BTreeMap::from([("loss".to_owned(), 2.5)]),
        checkpoint: Some(samples::artifact("checkpoint")),
        points: vec![
            CurvePoint::Step(StepPoint { step: 4, loss: 2.5, learning_rate: 1e-4, grad_norm: 0.75 }),
            CurvePoint::Validation(ValidationPoint { step: 4, validation_loss: 2.75 }),
        ],
        note: "waiting for @gesetze".to_owned(),
    };
    for progress in [full, Progress::default()] {
        assert_eq!(Progress::try_from(v1::Progress::from(progress.clone())), Ok(progress));
    }
}

#[test]
fn points_that_say_nothing_or_no_number_are_refused() {
    let of = |point| v1::Progress { points: vec![v1::CurvePoint { point }], ..v1::Progress::default() };
    let step = v1::StepPoint { step: 1, loss: f64::NAN, ..v1::StepPoint::default() };
    let validation = v1::ValidationPoint { step: 1, validation_loss: f64::INFINITY };
    for (point, wrong) in [
        (None, "progress.points.point"),
        (Some(v1::curve_point::Point::Step(step)), "progress.points.step.loss"),
        (Some(v1::curve_point::Point::Validation(validation)), "progress.points.validation.validation_loss"),
    ] {
        let refused = Progress::try_from(of(point)).unwrap_err().to_string();
        assert!(refused.contains(wrong), "{refused}");
    }
}

#[test]
fn an_attempt_key_comes_back_as_it_went() {
    let job: JobId = "job-7".parse().unwrap();
    let key = AttemptKey { stage: Stage::Judge, attempt: Attempt(2), fence: Fence(5) };
    let back: Result<(JobId, AttemptKey), _> = super::key_to_wire(&job, key).try_into();
    assert_eq!(back, Ok((job, key)));
}

#[test]
fn a_message_without_what_it_must_carry_is_refused_with_the_field() {
    let wire = || v1::JobSpec::from(spec());
    let refusals = [
        refused(JobSpec::try_from(v1::JobSpec { ingest: None, ..wire() })),
        refused(JobSpec::try_from(v1::JobSpec { training: None, ..wire() })),
        refused(JobSpec::try_from(v1::JobSpec { generation: None, ..wire() })),
        refused(JobSpec::try_from(v1::JobSpec { judge: None, ..wire() })),
        refused(JobSpec::try_from(v1::JobSpec { gate: None, ..wire() })),
        refused(JobSpec::try_from(v1::JobSpec { retry: None, ..wire() })),
        refused(StageResult::try_from(v1::StageResult { result: None })),
    ];
    let missing = [
        "spec.ingest",
        "spec.training",
        "spec.generation",
        "spec.judge",
        "spec.gate",
        "spec.retry",
        "result",
    ];
    for (refusal, field) in refusals.iter().zip(missing) {
        assert_eq!(*refusal, format!("field `{field}` of the message is missing"));
    }
}

#[test]
fn an_unspecified_choice_is_refused_by_name() {
    let mut wire = v1::JobSpec::from(spec());
    wire.method = v1::Method::Unspecified.into();
    assert_eq!(
        refused(JobSpec::try_from(wire)),
        "field `spec.method` of the message is unspecified; say which one"
    );
    let mut wire = v1::JobSpec::from(spec());
    wire.training.as_mut().unwrap().schedule = v1::Schedule::Unspecified.into();
    assert!(refused(JobSpec::try_from(wire)).contains("`spec.training.schedule`"));
    let mut wire = v1::JobSpec::from(spec());
    wire.gate.as_mut().unwrap().mode = v1::GateMode::Unspecified.into();
    assert!(refused(JobSpec::try_from(wire)).contains("`spec.gate.mode`"));
    let wire = v1::GateReport { decision: 0, ..gate_report().into() };
    assert!(refused(GateReport::try_from(wire)).contains("`gate.decision`"));
}

#[test]
fn a_choice_of_a_newer_sender_is_refused_by_name_and_number() {
    let wire = v1::JobSpec { method: 99, ..spec().into() };
    assert_eq!(
        refused(JobSpec::try_from(wire)),
        "field `spec.method` of the message has the unknown value 99; the sender may be newer than this program"
    );
    let claim = v1::ClaimRequest { job_id: "job-1".to_owned(), stage: 42, ..Default::default() };
    assert!(refused(claim_key(&claim)).contains("`stage` of the message has the unknown value 42"));
    let claim = v1::ClaimRequest { job_id: "job-1".to_owned(), stage: 0, ..Default::default() };
    assert!(refused(claim_key(&claim)).contains("`stage` of the message is unspecified"));
}

#[test]
fn a_name_that_breaks_the_rules_is_refused_with_its_field() {
    let wire = v1::JobSpec { domain: "Straßenrecht!".to_owned(), ..spec().into() };
    assert!(
        refused(JobSpec::try_from(wire))
            .starts_with("field `spec.domain` of the message is not valid: `Straßenrecht!`")
    );
    let wire = v1::JobSpec { priority: 256, ..spec().into() };
    assert!(refused(JobSpec::try_from(wire)).contains("`spec.priority`"));
    let claim = v1::ClaimRequest { job_id: "../job".to_owned(), stage: 1, ..Default::default() };
    assert!(refused(claim_key(&claim)).contains("`job_id`"));
    let Some(v1::stage_result::Result::Train(mut training)) =
        v1::StageResult::from(results().remove(1)).result
    else {
        panic!("the second sample result is not that of a training");
    };
    training.base_model_digest = "not a digest".to_owned();
    assert!(refused(TrainingResult::try_from(training)).contains("`train.base_model_digest`"));
}

#[test]
fn lines_of_a_log_come_back_as_they_were_and_a_level_of_later_versions_is_refused_by_name() {
    let line = LogLine {
        number: 3,
        at: Timestamp(1_700_000_000_123),
        level: LogLevel::Warn,
        target: "clara_ingest_worker".to_owned(),
        message: "left out a broken line".to_owned(),
    };
    let part = LogPart { stage: Stage::Judge, attempt: Attempt(4), fence: Fence(5), lines: vec![line] };
    let wire = v1::ReadLogResponse::from(part.clone());
    assert_eq!(LogPart::try_from(wire.clone()).unwrap(), part);
    let mut unknown = wire.clone();
    unknown.lines[0].level = 99;
    assert!(LogPart::try_from(unknown).unwrap_err().to_string().contains("`lines.level`"));
    let mut unnumbered = wire;
    unnumbered.lines[0].number = 0;
    assert!(LogPart::try_from(unnumbered).unwrap_err().to_string().contains("`lines.number`"));
}

fn hello() -> Hello {
    Hello {
        worker: "gpu-worker-train-1".parse().unwrap(),
        stage: Stage::Train,
        protocol: ProtocolRange { oldest: 2, newest: 5 },
        build: "0.7.1".to_owned(),
        slots: 3,
        resources: Resources { gpu_memory_bytes: 80 << 30, gpu_kind: Some("h100".to_owned()), cpu_cores: 8 },
        classes: vec!["gpu80".parse().unwrap(), "h100".parse().unwrap()],
    }
}

#[test]
fn a_greeting_and_its_answer_come_back_as_they_were() {
    assert_eq!(Hello::try_from(v1::HelloRequest::from(hello())), Ok(hello()));
    let welcome = Welcome {
        build: "0.8.0".to_owned(),
        protocol: ProtocolRange { oldest: 4, newest: 6 },
        classes: vec!["gpu80".parse().unwrap()],
    };
    assert_eq!(Welcome::try_from(welcome_to_wire(welcome.clone(), Some(5))), Ok(welcome));
}

#[test]
fn fields_of_a_newer_sender_are_passed_over() {
    let mut bytes = v1::HelloRequest::from(hello()).encode_to_vec();
    // Field 99, a number, and field 98, a text.
    prost::encoding::uint64::encode(99, &7, &mut bytes);
    prost::encoding::string::encode(98, &"from the future".to_owned(), &mut bytes);
    let heard = v1::HelloRequest::decode(bytes.as_slice()).unwrap();
    assert_eq!(Hello::try_from(heard), Ok(hello()));
}

#[test]
fn a_range_of_versions_that_is_none_is_refused() {
    for (oldest, newest) in [(0, 1), (3, 2)] {
        let protocol = Some(v1::ProtocolRange { oldest, newest });
        let wire = v1::HelloRequest { protocol, ..hello().into() };
        assert!(refused(Hello::try_from(wire)).contains("`protocol`"));
    }
}
