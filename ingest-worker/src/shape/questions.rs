//! The questions that are asked of running texts: templates of the job, and those that come with Clara.

use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde_json::{Map, Value};

use super::{Part, in_part};
use crate::{
    error::IngestError,
    hashing::{draw, hash_bytes},
};

/// A longer question is none, in characters.
const LONGEST_QUESTION: usize = 2_000;

/// The questions of Clara: the first group with one that fits is asked from.
const GROUPS: [&[&str]; 5] = [
    &[
        "Was regelt {{ provision }} zum Thema „{{ heading }}“?",
        "Was bestimmt {{ provision }} ({{ heading }})?",
        "Welche Regelung trifft {{ provision }} zu „{{ heading }}“?",
        "Was steht in {{ provision }} unter der Überschrift „{{ heading }}“?",
        "Wie lautet {{ provision }} ({{ heading }})?",
        "Was gilt nach {{ provision }} ({{ heading }})?",
    ],
    &[
        "Was regelt {{ provision }}?",
        "Was bestimmt {{ provision }}?",
        "Wie lautet {{ provision }}?",
        "Was steht in {{ provision }}?",
        "Welchen Wortlaut hat {{ provision }}?",
    ],
    &[
        "Was gilt nach {{ law }} zum Thema „{{ heading }}“?",
        "Welche Regelung trifft {{ law }} zu „{{ heading }}“?",
        "Was steht in {{ law }} unter der Überschrift „{{ heading }}“?",
    ],
    &["{% if heading is endingwith('?') %}{{ heading }}{% endif %}"],
    &[
        "Was ist zum Thema „{{ heading }}“ zu sagen?",
        "Was ist über „{{ heading }}“ zu wissen?",
        "Erläutere das Thema „{{ heading }}“.",
        "Informiere mich über „{{ heading }}“.",
        "Worum geht es unter der Überschrift „{{ heading }}“?",
    ],
];

/// Templates of questions, ready to be filled.
#[derive(Debug)]
pub(super) struct Questions<'a> {
    environment: Environment<'a>,
    own: Vec<Own<'a>>,
    seed: u64,
}

/// A template of the job.
#[derive(Debug)]
struct Own<'a> {
    template: &'a str,
    was_tried: bool,
    was_filled: bool,
}

impl<'a> Questions<'a> {
    /// Compiles all templates, and fills those of the job with a sample, so that a wrong one is found before anything is read.
    pub(super) fn new(own: &'a [String], seed: u64) -> Result<Self, IngestError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        let own_templates = own.iter().map(String::as_str);
        for (number, template) in (1..).zip(own_templates.clone()) {
            let filled =
                environment.add_template(template, template).and_then(|()| try_out(&environment, template));
            filled.map_err(|error| wrong(number, &error))?;
        }
        for template in GROUPS.into_iter().flatten() {
            environment.add_template(template, template).map_err(|error| wrong(0, &error))?;
        }
        let own =
            own_templates.map(|template| Own { template, was_tried: false, was_filled: false }).collect();
        Ok(Self { environment, own, seed })
    }

    /// A question for each part of a document; `None` when no template can be filled.
    pub(super) fn ask(
        &mut self,
        document_id: &str,
        context: &Map<String, Value>,
        parts: usize,
        is_golden: &dyn Fn(&str) -> bool,
    ) -> Option<Vec<String>> {
        let draw = draw(self.seed, hash_bytes(document_id.as_bytes()));
        for index in turn(self.own.len(), draw) {
            let Some(own) = self.own.get_mut(index) else { continue };
            own.was_tried = true;
            if let Some(questions) = fill(&self.environment, own.template, context, parts, is_golden) {
                own.was_filled = true;
                return Some(questions);
            }
        }
        for group in GROUPS {
            for index in turn(group.len(), draw) {
                let template = group.get(index)?;
                let questions = fill(&self.environment, template, context, parts, is_golden);
                if questions.is_some() {
                    return questions;
                }
            }
        }
        None
    }

    /// Templates of the job that no document could fill.
    pub(super) fn unused(&self) -> Vec<String> {
        let unused = self.own.iter().filter(|own| own.was_tried && !own.was_filled);
        unused.map(|own| own.template.to_owned()).collect()
    }
}

/// Fills a template for each part; `None` when a field is missing, or what comes out is no question.
fn fill(
    environment: &Environment<'_>,
    template: &str,
    context: &Map<String, Value>,
    parts: usize,
    is_golden: &dyn Fn(&str) -> bool,
) -> Option<Vec<String>> {
    let mut questions: Vec<String> = Vec::with_capacity(parts);
    let mut context = context.clone();
    for number in 1..=parts {
        context.insert("part".into(), number.into());
        context.insert("parts".into(), parts.into());
        let filled = environment
            .get_template(template)
            .and_then(|template| template.render(minijinja::value::Serde(&context)))
            .ok()?;
        let question = filled.trim();
        if question.is_empty() || question.chars().count() > LONGEST_QUESTION || is_golden(question) {
            return None;
        }
        questions.push(question.to_owned());
    }
    let all_alike = questions.iter().all(|question| questions.first() == Some(question));
    if all_alike {
        // The template does not say which part is meant.
        for (question, number) in questions.iter_mut().zip(1..) {
            *question = in_part(question, Part { number, of: parts });
        }
    }
    Some(questions)
}

/// Fills a template with samples for every name in it; missing inner fields are a matter of each document.
fn try_out(environment: &Environment<'_>, name: &str) -> Result<(), minijinja::Error> {
    let template = environment.get_template(name)?;
    let mut context = Map::new();
    for variable in template.undeclared_variables(true) {
        let mut fields = &mut context;
        let mut names = variable.split('.').peekable();
        while let Some(field) = names.next() {
            let slot = fields.entry(field);
            if names.peek().is_none() {
                slot.or_insert_with(|| "1".into());
                break;
            }
            let inner = slot.or_insert_with(|| Value::Object(Map::new()));
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            let Value::Object(inner) = inner else { break };
            fields = inner;
        }
    }
    match template.render(minijinja::value::Serde(&context)) {
        Err(error) if error.kind() != ErrorKind::UndefinedError => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn wrong(number: usize, error: &minijinja::Error) -> IngestError {
    let line = error.line().map_or_else(String::new, |line| format!(", line {line}"));
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let problem = format!(
        "template {number} of ingest.shape.questions{line} is wrong: {detail}; correct it, or leave all out to take the \
         questions of Clara"
    );
    IngestError::Options { problem }
}

/// The places of a list in turn, the first one drawn.
fn turn(length: usize, draw: u64) -> impl Iterator<Item = usize> {
    let length_wide = length as u64;
    let first =
        draw.checked_rem(length_wide).and_then(|first| usize::try_from(first).ok()).unwrap_or_default();
    (0..length).map(move |step| (first + step) % length)
}
