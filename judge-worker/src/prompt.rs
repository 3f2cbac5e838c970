//! What the judge is asked: rubric, question, reference, notes, and the candidate's answer behind a fence.

mod fence;
mod question;
mod schema;
#[cfg(test)]
mod tests;
mod text;

use clara_lifecycle::{
    digest::Digest,
    golden::GoldenSample,
    rubric::{Rubric, RubricCriterion, TOP_ANCHOR},
    score::Criterion,
};
use serde::Serialize;

use text::Texts;

pub(crate) use fence::{needs_neutralising, neutralised};
pub(crate) use schema::{PREFERENCES, Schema};

/// One turn of the conversation with the judge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Message {
    /// `system`, `user` or `assistant`.
    pub(crate) role: &'static str,
    /// What is said.
    pub(crate) content: String,
}

/// Where the reasons for scores stand. Before them they let a judge think; but then the scores follow from what was
/// written, and their probabilities say nothing any more (NYU CDS note, May 2025).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reasons {
    /// There are none.
    None,
    /// Before the scores.
    Before,
    /// After the scores.
    After,
}

/// What is asked for: the messages, and what the reply must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The conversation so far.
    pub(crate) messages: Vec<Message>,
    /// The schema of the reply.
    pub(crate) schema: Schema,
    /// The same as an example, for the request to repair a reply.
    shape: String,
}

/// Writes prompts for one kind of judging.
#[derive(Debug, Clone)]
pub(crate) struct Prompter {
    rubric: Rubric,
    reasons: Reasons,
}

impl Prompter {
    /// Prompts by `rubric` and in its language.
    pub(crate) fn new(rubric: Rubric, reasons: Reasons) -> Self {
        Self { rubric, reasons }
    }

    /// What is scored.
    pub(crate) fn rubric(&self) -> &Rubric {
        &self.rubric
    }

    /// Whether the judge gives reasons, and where.
    pub(crate) fn reasons(&self) -> Reasons {
        self.reasons
    }

    /// Asks for the scores of `answer` by `criteria`. The same input gives the same messages.
    ///
    /// The answer is a user turn of its own, and a short turn of the judge stands before it: what comes from outside
    /// never shares a turn with the task, the turns change as many chat templates demand, and everything before the
    /// answer is the same for all answers to a question, so that a server can keep it.
    pub(crate) fn ask(&self, sample: &GoldenSample, answer: &str, criteria: &[&RubricCriterion]) -> Request {
        let texts = self.texts();
        let names: Vec<Criterion> = criteria.iter().map(|entry| entry.criterion).collect();
        let shape = self.shape(&names);
        let request = match self.reasons {
            Reasons::None => texts.scores_only,
            Reasons::Before => texts.reasons_before,
            Reasons::After => texts.reasons_after,
        };
        let system = [texts.role, &self.rubric_text(criteria), texts.rules, request, &shape].join("\n\n");
        let answer = fence::fenced(texts, texts.answer, sample, answer);
        let messages = vec![
            Message { role: "system", content: system },
            Message { role: "user", content: question::text(texts, sample, &names) },
            Message { role: "assistant", content: texts.ready.to_owned() },
            Message { role: "user", content: format!("{answer}\n\n{}", texts.now) },
        ];
        Request { messages, schema: schema::of_scores(&names, self.reasons), shape }
    }

    /// Asks which of two answers is better, shown in this order; each is a turn of its own.
    pub(crate) fn compare(&self, sample: &GoldenSample, first: &str, second: &str) -> Request {
        let texts = self.texts();
        let criteria: Vec<&RubricCriterion> = self.rubric.applying(sample).collect();
        let names: Vec<Criterion> = criteria.iter().map(|entry| entry.criterion).collect();
        let counts: Vec<_> = criteria.iter().map(|entry| format!("- {}", entry.question)).collect();
        let better = format!("\"better\": \"<{}>\"", PREFERENCES.join("|"));
        let (request, shape) = match self.reasons {
            Reasons::None => (texts.compare_only, format!("{{{better}}}")),
            Reasons::Before | Reasons::After => {
                (texts.compare_reasons, format!("{{\"reasoning\": {}, {better}}}", texts.sentence))
            }
        };
        let system =
            [texts.compare_role, &counts.join("\n"), texts.compare_rules, request, &shape].join("\n\n");
        let last = fence::fenced(texts, texts.answer_b, sample, second);
        let messages = vec![
            Message { role: "system", content: system },
            Message { role: "user", content: question::text(texts, sample, &names) },
            Message { role: "assistant", content: texts.ready.to_owned() },
            Message { role: "user", content: fence::fenced(texts, texts.answer_a, sample, first) },
            Message { role: "assistant", content: texts.next.to_owned() },
            Message { role: "user", content: format!("{last}\n\n{}", texts.compare_now) },
        ];
        Request { messages, schema: schema::of_preference(self.reasons), shape }
    }

    /// Asks once more, after a reply that could not be read because of `fault`.
    pub(crate) fn ask_again(&self, mut asked: Request, reply: &str, fault: &str) -> Request {
        let repair = self.texts().repair(fault, &asked.shape);
        asked.messages.push(Message { role: "assistant", content: reply.to_owned() });
        asked.messages.push(Message { role: "user", content: repair });
        asked
    }

    /// Digest of every text that stands around the rubric, found by writing all of them once.
    pub(crate) fn digest(&self) -> Digest {
        let mut sample = GoldenSample::new("prompt".into(), "expected output".into());
        sample.domain = "domain".into();
        sample.context = Some("context".into());
        sample.criteria = Criterion::ALL.map(|criterion| (criterion.to_string(), "note".to_owned())).into();
        let criteria: Vec<&RubricCriterion> = self.rubric.criteria.iter().collect();
        let asked = self.ask_again(self.ask(&sample, "answer", &criteria), "reply", "fault");
        let empty = self.ask(&sample, "", &criteria);
        let schema = format!("{:?}", asked.schema);
        let texts = asked.messages.iter().chain(empty.messages.last());
        let texts = texts.map(|message| (message.role, message.content.as_bytes()));
        Digest::of_parts(texts.chain([("schema", schema.as_bytes())]))
    }

    fn texts(&self) -> &'static Texts {
        Texts::of(self.rubric.language)
    }

    /// The criteria with every anchor on a line of its own. Judges that give scores alone are small ones, as a rule,
    /// and run on processors, where each token that is read costs time for every sample: they see the best, the middle
    /// and the worst anchor on one line.
    fn rubric_text(&self, criteria: &[&RubricCriterion]) -> String {
        let anchor = |entry: &RubricCriterion, score: u8| {
            let meaning = entry.anchors.get(usize::from(score)).map_or("", String::as_str);
            format!("{score} = {meaning}")
        };
        let brief = |entry: &&RubricCriterion| {
            let anchors = [TOP_ANCHOR, TOP_ANCHOR / 2, 0].map(|score| anchor(entry, score));
            format!("{}: {} {}", entry.criterion, entry.question, anchors.join("; "))
        };
        let full = |entry: &&RubricCriterion| {
            let anchors = (0..=TOP_ANCHOR).rev().map(|score| format!("\n  {}", anchor(entry, score)));
            format!("{}: {}{}", entry.criterion, entry.question, anchors.collect::<String>())
        };
        let lines: Vec<_> = match self.reasons {
            Reasons::None => criteria.iter().map(brief).collect(),
            Reasons::Before | Reasons::After => criteria.iter().map(full).collect(),
        };
        lines.join("\n")
    }

    /// The reply's shape as an example; no number stands in it that a judge could repeat.
    fn shape(&self, criteria: &[Criterion]) -> String {
        let object = |name: &str, value: &str| {
            let fields: Vec<_> =
                criteria.iter().map(|criterion| format!("\"{criterion}\": {value}")).collect();
            format!("\"{name}\": {{{}}}", fields.join(", "))
        };
        let texts = self.texts();
        let (scores, reasoning) = (object("scores", texts.integer), object("reasoning", texts.sentence));
        match self.reasons {
            Reasons::None => format!("{{{scores}}}"),
            Reasons::Before => format!("{{{reasoning}, {scores}}}"),
            Reasons::After => format!("{{{scores}, {reasoning}}}"),
        }
    }
}
