//! What the judge is asked: rubric, question, reference, notes, and the candidate's answer behind a fence.

mod fence;
mod schema;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use clara_lifecycle::{
    digest::Digest,
    golden::GoldenSample,
    score::{Criterion, JudgeIdentity},
};
use serde::Serialize;

use crate::rubric::{Language, Rubric};
use text::Texts;

pub(crate) use schema::Schema;

/// One turn of the conversation with the judge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Message {
    /// `system`, `user` or `assistant`.
    pub(crate) role: &'static str,
    /// What is said.
    pub(crate) content: String,
}

/// Writes prompts for one kind of judging.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prompter {
    language: Language,
    reasoning: bool,
}

impl Prompter {
    /// Prompts in `language`; with `reasoning` the judge gives a sentence per criterion before its scores.
    pub(crate) fn new(language: Language, reasoning: bool) -> Self {
        Self { language, reasoning }
    }

    /// Whether the judge gives reasons.
    pub(crate) fn reasoning(self) -> bool {
        self.reasoning
    }

    /// The schema of a reply.
    pub(crate) fn schema(self) -> Schema {
        schema::reply_schema(self.reasoning)
    }

    /// Asks for the scores of `answer`. The same input gives the same messages.
    pub(crate) fn ask(self, sample: &GoldenSample, answer: &str) -> Vec<Message> {
        vec![self.system(), self.user(sample, answer)]
    }

    /// Asks once more, after a reply that could not be read because of `fault`.
    pub(crate) fn ask_again(self, mut asked: Vec<Message>, reply: &str, fault: &str) -> Vec<Message> {
        asked.push(Message { role: "assistant", content: reply.to_owned() });
        asked.push(Message { role: "user", content: self.texts().repair(fault, &self.shape()) });
        asked
    }

    /// Who judges when `model` at `url` is asked in this way.
    pub(crate) fn identity(self, model: &str, url: &str, calibrated: bool) -> JudgeIdentity {
        let rubric = Rubric::of(self.language);
        let (rubric_digest, prompt_digest) = (rubric.digest(), self.digest());
        JudgeIdentity {
            judge_id: format!("{model}#{}-{}", prompt_digest.short(), rubric_digest.short()),
            model: model.to_owned(),
            url: url.to_owned(),
            rubric_version: rubric.version.to_owned(),
            rubric_digest,
            prompt_digest,
            calibrated,
        }
    }

    /// Digest of every text that the prompts are made of, by writing all of them once.
    fn digest(self) -> Digest {
        let mut sample = GoldenSample::new("prompt".into(), "expected output".into());
        sample.domain = "domain".into();
        sample.context = Some("context".into());
        sample.criteria = Criterion::ALL.map(|criterion| (criterion.to_string(), "note".to_owned())).into();
        let messages = self.ask_again(self.ask(&sample, "answer"), "reply", "fault");
        let empty = self.user(&sample, "").content;
        let schema = format!("{:?}", self.schema());
        let texts = messages.iter().map(|message| (message.role, message.content.as_bytes()));
        Digest::of_parts(texts.chain([("empty", empty.as_bytes()), ("schema", schema.as_bytes())]))
    }

    fn texts(self) -> &'static Texts {
        Texts::of(self.language)
    }

    fn system(self) -> Message {
        let (texts, rubric) = (self.texts(), Rubric::of(self.language));
        let (rubric, request) = if self.reasoning {
            (rubric.text(), texts.with_reasons)
        } else {
            (rubric.brief_text(), texts.scores_only)
        };
        let content = [texts.role, &rubric, texts.rules, request, &self.shape()].join("\n\n");
        Message { role: "system", content }
    }

    fn user(self, sample: &GoldenSample, answer: &str) -> Message {
        let texts = self.texts();
        let mut sections =
            vec![(texts.domain, sample.domain.clone()), (texts.question, sample.prompt.clone())];
        if let Some(context) = &sample.context {
            sections.push((texts.context, context.clone()));
        }
        sections.push((texts.reference, sample.expected_output.clone()));
        let notes = notes(&sample.criteria);
        if !notes.is_empty() {
            sections.push((texts.notes, notes));
        }
        let mut parts: Vec<_> =
            sections.iter().map(|(title, text)| format!("{title}:\n{}", text.trim())).collect();
        parts.push(fence::fenced(texts, sample, answer));
        parts.push(texts.now.to_owned());
        let content = parts.join("\n\n");
        Message { role: "user", content }
    }

    /// The reply's shape as an example; no number stands in it that a judge could repeat.
    fn shape(self) -> String {
        let object = |value: &str| {
            let fields = Criterion::ALL.map(|criterion| format!("\"{criterion}\": {value}"));
            format!("{{{}}}", fields.join(", "))
        };
        let texts = self.texts();
        let scores = format!("\"scores\": {}", object(texts.integer));
        if self.reasoning {
            let reasoning = object(texts.sentence);
            format!("{{\"reasoning\": {reasoning}, {scores}, \"overall_assessment\": {}}}", texts.sentence)
        } else {
            format!("{{{scores}}}")
        }
    }
}

/// The sample's notes by criterion, in the order of the rubric.
fn notes(criteria: &BTreeMap<String, String>) -> String {
    let known = Criterion::ALL.into_iter().filter_map(|criterion| {
        criteria.get(criterion.as_str()).map(|note| format!("- {criterion}: {}", note.trim()))
    });
    known.collect::<Vec<_>>().join("\n")
}
