//! How two beginnings of an answer are compared, and what follows from it.

use std::fmt;

use serde::Serialize;

use super::{FingerprintPrompt, Opening, ServedDtype, ServedReply};

/// How far apart two beginnings are that clearly part, in nats.
pub(super) const FAR: f64 = 10.0;
/// Two tokens that lie so many tolerances apart do not change places by rounding.
const CLEAR: f64 = 4.0;
/// Characters that are compared where nothing but an answer's text was recorded.
const TEXT_CHARS: usize = 32;
/// Fewer tokens than this say nothing.
const FEWEST_TOKENS: usize = 4;

/// What a comparison rests on, weakest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// Log-probabilities of tokens.
    LogProbabilities,
    /// The text of greedy answers: small changes of weights that leave the most likely tokens alone go unseen.
    TextOnly,
}

/// What a comparison came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Whether the server answers as the judged adapter did.
    pub matches: bool,
    /// What it rests on.
    pub strength: Strength,
    /// Whether the base model, or the champion before, would have matched as well: then the match proves nothing.
    pub indistinct: Vec<String>,
    /// Tokens compared; characters for a text.
    pub compared: usize,
    /// Mean difference of the log-probabilities, in nats.
    pub mean_difference: f64,
    /// The most that is allowed.
    pub tolerance: f64,
    /// Where the answers part, if they do, with what was expected and found.
    pub parts: Option<String>,
    /// Who the server answers like, where it is not the judged adapter.
    pub answers_like: Option<String>,
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.strength {
            Strength::LogProbabilities => write!(
                formatter,
                "log-probabilities of {} tokens differ by {:.4} nats on average, {} allowed",
                self.compared, self.mean_difference, self.tolerance
            )?,
            Strength::TextOnly => write!(
                formatter,
                "the text of greedy answers agrees over {} characters (the server tells no log-probabilities, or none \
                 were recorded: a weaker proof)",
                self.compared
            )?,
        }
        if let Some(parts) = &self.parts {
            write!(formatter, "; the answers part: {parts}")?;
        }
        if let Some(who) = &self.answers_like {
            write!(formatter, "; it answers like {who}")?;
        }
        if !self.indistinct.is_empty() {
            let who = self.indistinct.join(" and ");
            write!(formatter, "; {who} would match as well, so the match says little")?;
        }
        Ok(())
    }
}

/// How far a reply is from what was recorded.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Difference {
    /// Tokens, or characters of a text.
    pub(super) compared: usize,
    /// Sum of the differences of log-probabilities.
    pub(super) sum: f64,
    /// Where the two clearly part.
    pub(super) parted: Option<String>,
    /// Whether only texts could be compared.
    pub(super) text_only: bool,
}

impl Difference {
    #[expect(clippy::cast_precision_loss, reason = "a few tokens")]
    pub(super) fn mean(&self) -> f64 {
        if self.compared == 0 { 0.0 } else { self.sum / self.compared as f64 }
    }

    fn add(&mut self, other: Self) {
        self.compared += other.compared;
        self.sum += other.sum;
        self.parted = self.parted.take().or(other.parted);
        self.text_only |= other.text_only;
    }

    fn matches(&self, tolerance: f64) -> bool {
        let enough = if self.text_only { 1 } else { FEWEST_TOKENS };
        self.parted.is_none() && self.compared >= enough && self.mean() <= tolerance
    }
}

/// Compares a reply with a recorded beginning.
pub(super) fn differ(expected: &Opening, found: &ServedReply, tolerance: f64) -> Difference {
    match &found.tokens {
        Some(tokens) if !expected.tokens.is_empty() => {
            let mut difference = Difference::default();
            for (place, wanted) in expected.tokens.iter().enumerate() {
                let served = tokens.get(place);
                match served {
                    Some(served) if same_text(&wanted.text, &served.text) => {
                        difference.compared += 1;
                        difference.sum += (f64::from(wanted.logprob) - served.logprob).abs().min(FAR);
                    }
                    _ => {
                        // A near tie may go either way; a clear choice may not.
                        if wanted.margin.is_none_or(|margin| f64::from(margin) > CLEAR * tolerance) {
                            let served = served.map_or("the end", |served| served.text.as_str());
                            difference.parted = Some(format!(
                                "expected {:?} as token {}, found {served:?}",
                                wanted.text,
                                place + 1
                            ));
                        }
                        return difference;
                    }
                }
            }
            difference
        }
        Some(_) | None => differ_in_text(expected, &found.text, tolerance),
    }
}

/// Compares texts up to the first near tie, or the first characters where no tokens were recorded.
fn differ_in_text(expected: &Opening, found: &str, tolerance: f64) -> Difference {
    let sure = |margin: Option<f32>| margin.is_none_or(|margin| f64::from(margin) > CLEAR * tolerance);
    let wanted: String = if expected.tokens.is_empty() {
        expected.text.trim_start().chars().take(TEXT_CHARS).collect()
    } else {
        let clear = expected.tokens.iter().take_while(|token| sure(token.margin));
        let text: String = clear.map(|token| token.text.as_str()).collect();
        text.trim_start().trim_end_matches(char::REPLACEMENT_CHARACTER).to_owned()
    };
    let found = found.trim_start();
    let agrees = found.starts_with(wanted.as_str());
    let short = || found.chars().take(wanted.chars().count()).collect::<String>();
    Difference {
        compared: wanted.chars().count(),
        sum: 0.0,
        parted: (!agrees).then(|| format!("expected {wanted:?}, found {:?}", short())),
        text_only: true,
    }
}

/// Servers write the blank before a word and bytes of a part of a character in their own ways.
fn same_text(a: &str, b: &str) -> bool {
    let plain = |text: &str| text.replace('▁', " ").trim_start().to_owned();
    let (a, b) = (plain(a), plain(b));
    a == b || a.contains(char::REPLACEMENT_CHARACTER) || b.contains(char::REPLACEMENT_CHARACTER)
}

/// Compares all replies, and where they do not match finds out whom the server answers like.
pub(super) fn compare(
    prompts: &[FingerprintPrompt],
    replies: &[ServedReply],
    dtype: ServedDtype,
) -> Comparison {
    let tolerance = dtype.tolerance();
    let against = |opening: &dyn Fn(&FingerprintPrompt) -> Option<Opening>| {
        let mut all = Difference::default();
        for (prompt, reply) in prompts.iter().zip(replies) {
            all.add(differ(&opening(prompt)?, reply, tolerance));
        }
        Some(all)
    };
    let mut found = against(&|prompt| Some(prompt.expected.clone())).unwrap_or_default();
    if replies.len() < prompts.len() {
        found.parted = Some(format!("{} of {} prompts were answered", replies.len(), prompts.len()));
    }
    let matches = found.matches(tolerance);
    let others = [
        ("the base model", against(&|prompt| Some(prompt.base.clone()))),
        ("the champion before", against(&|prompt| prompt.champion.clone())),
    ];
    let alike: Vec<String> = others
        .into_iter()
        .filter(|(_, other)| other.as_ref().is_some_and(|other| other.matches(tolerance)))
        .map(|(who, _)| who.to_owned())
        .collect();
    let (indistinct, answers_like) =
        if matches { (alike, None) } else { (Vec::new(), alike.into_iter().next()) };
    Comparison {
        matches,
        strength: if found.text_only { Strength::TextOnly } else { Strength::LogProbabilities },
        indistinct,
        compared: found.compared,
        mean_difference: found.mean(),
        tolerance,
        parts: found.parted,
        answers_like,
    }
}
