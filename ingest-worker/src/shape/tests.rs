//! What documents become.

use clara_lifecycle::{
    dataset::{TrainingContent, TrainingRecord},
    id::Domain,
    spec::{IngestOptions, RecordShape, ShapeOptions},
};

use super::Shaper;
use crate::{error::IngestError, query::tests::document, source::Document};

const TEXT: &str =
    "Verwaltungsakt ist jede Verfügung, die eine Behörde zur Regelung eines Einzelfalls trifft.";

fn options(records: RecordShape) -> IngestOptions {
    IngestOptions { shape: ShapeOptions { records, ..ShapeOptions::default() }, ..IngestOptions::default() }
}

fn domain() -> Domain {
    "verwaltungsrecht".parse().unwrap()
}

fn section() -> Document {
    let metadata = [("law", "VwVfG"), ("section", "§ 35"), ("heading", "Begriff des Verwaltungsaktes")];
    document("vwvfg-35", TEXT, &metadata)
}

fn shape(options: &IngestOptions, document: Document) -> Vec<TrainingRecord> {
    Shaper::new(options, &domain()).unwrap().records(document, &|_| false)
}

/// Question and answer of a record.
fn exchange(record: &TrainingRecord) -> (&str, &str) {
    match &record.content {
        TrainingContent::Chat { messages } => (&messages[0].content, &messages[1].content),
        other => panic!("{other:?} is no conversation"),
    }
}

#[test]
fn text_stays_as_it_is() {
    let records = shape(&options(RecordShape::Text), section());
    assert_eq!(records[0].content, TrainingContent::Text { text: TEXT.into() });
    assert_eq!(records[0].document_id, "vwvfg-35");
}

#[test]
fn a_completion_continues_its_heading() {
    let records = shape(&options(RecordShape::Completion), section());
    let expected = TrainingContent::PromptCompletion {
        prompt: "§ 35 VwVfG Begriff des Verwaltungsaktes\n\n".into(),
        completion: TEXT.into(),
    };
    assert_eq!(records[0].content, expected);
}

#[test]
fn a_question_names_provision_and_heading_and_the_answer_its_source() {
    let mut options = options(RecordShape::Instruction);
    options.shape.cite = true;
    let mut questions = std::collections::BTreeSet::new();
    for seed in 0..50 {
        options.seed = seed;
        let records = shape(&options, section());
        let (question, answer) = exchange(&records[0]);
        assert!(
            question.contains("§ 35 VwVfG") && question.contains("Begriff des Verwaltungsaktes"),
            "{question}"
        );
        assert_eq!(answer, format!("{TEXT} (§ 35 VwVfG)"));
        questions.insert(question.to_owned());
    }
    assert_eq!(questions.len(), 6);
}

#[test]
fn a_section_without_a_heading_is_asked_for_by_its_number() {
    let document = document("x", TEXT, &[("law", "GG"), ("section", "Art 14"), ("heading", " ")]);
    let records = shape(&options(RecordShape::Instruction), document);
    let question = exchange(&records[0]).0;
    assert!(
        question.contains("Art. 14 GG") && !question.contains('„') && !question.contains('('),
        "{question}"
    );
}

#[test]
fn a_plain_document_is_asked_for_by_its_first_line() {
    for text in ["# Die Baugenehmigung\n\nSie wird erteilt.", "Die Baugenehmigung\n\nSie wird erteilt."] {
        let mut options = options(RecordShape::Instruction);
        options.shape.cite = true;
        let records = shape(&options, document("bau.md", text, &[("file", "bau.md")]));
        let (question, answer) = exchange(&records[0]);
        assert!(question.contains("„Die Baugenehmigung“"), "{question}");
        assert_eq!(answer, "Sie wird erteilt. (Quelle: bau.md)");
    }
}

#[test]
fn a_heading_that_begins_the_text_stands_in_the_question_alone() {
    let about = [("title", "Bauen | Amt"), ("heading", "Bauen im Außenbereich")];
    for first in [
        "Bauen im Außenbereich",
        "# Bauen im  Außenbereich",
        "Bauen im Außenbereich\n\n## Bauen im Außenbereich",
    ] {
        let text = format!("{first}\n\n{TEXT}");
        let records = shape(&options(RecordShape::Instruction), document("bau.html", &text, &about));
        let (question, answer) = exchange(&records[0]);
        assert!(question.contains("„Bauen im Außenbereich“"), "{question}");
        assert_eq!(answer, TEXT, "{first}");
        let records = shape(&options(RecordShape::Completion), document("bau.html", &text, &about));
        let expected = TrainingContent::PromptCompletion {
            prompt: "Bauen im Außenbereich\n\n".into(),
            completion: TEXT.into(),
        };
        assert_eq!(records[0].content, expected);
    }
    for text in ["Bauen im Außenbereich", "Bauen im Außenbereich ist selten.\n\nEs gilt § 35."] {
        let records = shape(&options(RecordShape::Instruction), document("bau.html", text, &about));
        assert_eq!(exchange(&records[0]).1, text);
    }
    let text = format!("Bauen im Außenbereich\n\n{TEXT}");
    let records = shape(&options(RecordShape::Text), document("bau.html", &text, &about));
    assert_eq!(records[0].content, TrainingContent::Text { text });
}

#[test]
fn a_heading_that_asks_is_the_question() {
    let document = document("faq", TEXT, &[("title", "Was ist ein Verwaltungsakt?")]);
    let records = shape(&options(RecordShape::Instruction), document);
    assert_eq!(exchange(&records[0]).0, "Was ist ein Verwaltungsakt?");
}

#[test]
fn what_has_no_heading_stays_text_and_is_counted() {
    for records in [RecordShape::Completion, RecordShape::Instruction] {
        let options = options(records);
        let domain = domain();
        let mut shaper = Shaper::new(&options, &domain).unwrap();
        let records = shaper.records(document("x", TEXT, &[("file", "x.txt")]), &|_| false);
        assert_eq!(records[0].content, TrainingContent::Text { text: TEXT.into() });
        assert_eq!(shaper.report().left_as_text, 1);
    }
}

#[test]
fn conversations_and_completions_stay_as_they_are() {
    let content = TrainingContent::PromptCompletion { prompt: "Frage".into(), completion: "Antwort".into() };
    let document = Document { content: content.clone(), ..section() };
    assert_eq!(shape(&options(RecordShape::Instruction), document)[0].content, content);
}

#[test]
fn each_part_of_a_long_text_has_its_own_question() {
    let text = "Die Behörde entscheidet nach pflichtgemäßem Ermessen. ".repeat(60);
    let long = Document { content: TrainingContent::Text { text }, ..section() };
    let records = shape(&options(RecordShape::Instruction), long.clone());
    assert_eq!(records.len(), 2);
    assert_eq!(
        (records[0].document_id.as_str(), records[1].document_id.as_str()),
        ("vwvfg-35#1", "vwvfg-35#2")
    );
    assert!(exchange(&records[1]).0.contains(" (Teil 2 von 2)"), "{}", exchange(&records[1]).0);
    let prompts = shape(&options(RecordShape::Completion), long);
    assert!(matches!(
        &prompts[0].content,
        TrainingContent::PromptCompletion { prompt, .. } if prompt.ends_with("aktes (Teil 1 von 2)\n\n")
    ));
}

#[test]
fn own_questions_know_metadata_id_domain_and_part() {
    let mut options = options(RecordShape::Instruction);
    options.shape.questions =
        vec!["{{ meta.norm }} {{ id }} {{ domain }} {{ provision }} {{ part }}/{{ parts }}".into()];
    let metadata = [("meta.norm", "VwVfG 35"), ("law", "VwVfG"), ("paragraph", "35")];
    let records = shape(&options, document("x", TEXT, &metadata));
    assert_eq!(exchange(&records[0]).0, "VwVfG 35 x verwaltungsrecht § 35 VwVfG 1/1");
}

#[test]
fn a_template_that_misses_a_field_makes_way_for_the_next() {
    let mut options = options(RecordShape::Instruction);
    options.shape.questions =
        vec!["{{ author }}?".into(), "Was sagt {{ heading }}?".into(), "{{ editor.name }}?".into()];
    let domain = domain();
    let mut shaper = Shaper::new(&options, &domain).unwrap();
    for n in 0..20 {
        let records = shaper.records(Document { id: format!("doc-{n}"), ..section() }, &|_| false);
        assert_eq!(exchange(&records[0]).0, "Was sagt Begriff des Verwaltungsaktes?");
    }
    assert_eq!(shaper.report().unused_questions, ["{{ author }}?", "{{ editor.name }}?"]);
}

#[test]
fn a_question_of_the_golden_dataset_is_not_asked() {
    let options = options(RecordShape::Instruction);
    let domain = domain();
    let mut shaper = Shaper::new(&options, &domain).unwrap();
    let is_golden = |question: &str| !question.starts_with("Wie lautet");
    let records = shaper.records(section(), &is_golden);
    assert_eq!(exchange(&records[0]).0, "Wie lautet § 35 VwVfG (Begriff des Verwaltungsaktes)?");
}

#[test]
fn a_wrong_template_is_refused_with_its_place_before_anything_is_read() {
    for (template, part) in [
        ("Was regelt {{ heading ?", "template 2 of ingest.shape.questions, line 1"),
        ("Was\nregelt {{ heading|unknown }}?", "template 2 of ingest.shape.questions, line 2"),
        ("{{ heading.upper() }}", "template 2 of ingest.shape.questions, line 1"),
        ("{% for x in heading %}", "template 2 of ingest.shape.questions"),
    ] {
        let mut options = options(RecordShape::Instruction);
        options.shape.questions = vec!["{{ heading }}?".into(), template.into()];
        let error = Shaper::new(&options, &domain()).unwrap_err();
        assert!(matches!(error, IngestError::Options { .. }) && !error.is_retryable());
        assert!(error.to_string().contains(part), "{error}");
    }
}
