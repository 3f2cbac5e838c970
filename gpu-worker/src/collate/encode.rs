//! One record becomes tokens, and labels for those that are learned.

use clara_lifecycle::{
    dataset::{ChatMessage, TrainingContent, TrainingRecord},
    spec::Overlong,
};

use super::{CollateError, CollateReport, TextTools, TokenDocument};
use crate::{engine::IGNORED, tokenizer::TokenizerError};

/// A token and whether the model learns to write it.
type Marked = (u32, bool);

/// How long documents may be, and what becomes of longer records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) tokens: usize,
    pub(super) overlong: Overlong,
}

/// Appends the record's documents, none longer than the limit, and counts what was cut or left out.
pub(super) fn encode(
    record: &TrainingRecord,
    tools: TextTools<'_>,
    limit: Limit,
    report: &mut CollateReport,
    documents: &mut Vec<TokenDocument>,
) -> Result<(), CollateError> {
    let refused = |source| CollateError::Tokenizer { document_id: record.document_id.clone(), source };
    let is_running_text = matches!(record.content, TrainingContent::Text { .. });
    let mut marked = match &record.content {
        TrainingContent::Text { text } => running_text(text, tools).map_err(refused)?,
        TrainingContent::PromptCompletion { prompt, completion } => {
            completed_prompt(prompt, completion, tools).map_err(refused)?
        }
        TrainingContent::Chat { messages } => conversation(record, messages, tools)?,
    };
    report.lengths.add(marked.len());
    if marked.len() > limit.tokens {
        match (limit.overlong, is_running_text) {
            (Overlong::Drop, _) => {
                report.dropped += 1;
                return Ok(());
            }
            (Overlong::Split, true) => report.split += 1,
            (Overlong::Split, false) => {
                report.truncated += 1;
                marked.truncate(limit.tokens);
            }
        }
    }
    let before = documents.len();
    for piece in pieces(&marked, limit.tokens) {
        let document = label(&record.document_id, piece);
        if document.target_tokens() > 0 {
            documents.push(document);
        }
    }
    if documents.len() == before {
        report.without_target += 1;
    }
    Ok(())
}

/// Cuts into pieces of at most `limit` tokens; each starts with the last token of the one before, so that every token but
/// the very first is learned once.
fn pieces(marked: &[Marked], limit: usize) -> impl Iterator<Item = &[Marked]> {
    let stride = limit.saturating_sub(1).max(1);
    let starts = (0..marked.len().saturating_sub(1)).step_by(stride);
    starts.filter_map(move |start| marked.get(start..marked.len().min(start + limit)))
}

/// All of the text and the end mark behind it.
fn running_text(text: &str, tools: TextTools<'_>) -> Result<Vec<Marked>, TokenizerError> {
    let mut tokens = tools.tokenizer.encode_document(text)?;
    if !tokens.is_empty() {
        tokens.extend(tools.tokenizer.eos().first());
    }
    Ok(tokens.into_iter().map(|token| (token, true)).collect())
}

/// The prompt as given; the completion and the end mark learned.
///
/// Both are tokenised by themselves, as they are when the model is asked to continue the prompt.
fn completed_prompt(
    prompt: &str,
    completion: &str,
    tools: TextTools<'_>,
) -> Result<Vec<Marked>, TokenizerError> {
    let given = tools.tokenizer.encode_document(prompt)?;
    let mut learned = tools.tokenizer.encode(completion)?;
    if !learned.is_empty() {
        learned.extend(tools.tokenizer.eos().first());
    }
    let mut marked: Vec<Marked> = given.into_iter().map(|token| (token, false)).collect();
    marked.extend(learned.into_iter().map(|token| (token, true)));
    Ok(marked)
}

/// The rendered conversation, with the assistant's turns learned.
fn conversation(
    record: &TrainingRecord,
    messages: &[ChatMessage],
    tools: TextTools<'_>,
) -> Result<Vec<Marked>, CollateError> {
    let rendered = tools
        .chat_template
        .render_turns(messages)
        .map_err(|source| CollateError::Template { document_id: record.document_id.clone(), source })?;
    let mut marked = Vec::new();
    let mut append = |text: Option<&str>, learned: bool| -> Result<(), CollateError> {
        let tokens = tools
            .tokenizer
            .encode(text.unwrap_or_default())
            .map_err(|source| CollateError::Tokenizer { document_id: record.document_id.clone(), source })?;
        marked.extend(tokens.into_iter().map(|token| (token, learned)));
        Ok(())
    };
    let mut position = 0;
    for turn in rendered.assistant {
        append(rendered.text.get(position..turn.start), false)?;
        position = turn.end;
        append(rendered.text.get(turn), true)?;
    }
    append(rendered.text.get(position..), false)?;
    Ok(marked)
}

/// The label of a position is the token after it, where that one is learned.
fn label(document_id: &str, marked: &[Marked]) -> TokenDocument {
    let next =
        marked.iter().skip(1).map(|(token, learned)| if *learned { i64::from(*token) } else { IGNORED });
    TokenDocument {
        document_id: document_id.to_owned(),
        tokens: marked.iter().map(|(token, _)| *token).collect(),
        labels: next.chain(marked.first().map(|_| IGNORED)).collect(),
    }
}
