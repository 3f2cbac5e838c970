//! Counts the tokens of records with the base model's tokenizer.

#[cfg(test)]
pub(crate) mod tests;

use std::{fmt, path::Path};

use clara_lifecycle::dataset::{TokenReport, TrainingRecord};
use tokenizers::Tokenizer;

/// File of a Hugging Face folder that holds its tokenizer.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// Counts tokens; keeps one number per record.
pub(crate) struct TokenCounter {
    tokenizer: Tokenizer,
    counts: Vec<u32>,
    train: u64,
    validation: u64,
    longest: Option<(u32, String)>,
}

impl fmt::Debug for TokenCounter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TokenCounter").field("records", &self.counts.len()).finish_non_exhaustive()
    }
}

impl TokenCounter {
    /// A counter with the tokenizer of a base model, or why there is none.
    pub(crate) fn open(base_model: Option<&str>) -> Result<Self, String> {
        let Some(base_model) = base_model else { return Err("no base model was named".into()) };
        let folder = Path::new(base_model);
        if folder.is_file() {
            return Err(format!(
                "{base_model} is no Hugging Face folder; tokenizers of GGUF files are not read here"
            ));
        }
        let path = folder.join(TOKENIZER_FILE);
        let bytes = std::fs::read(&path)
            .map_err(|error| format!("the ingest-worker cannot read {}: {error}", path.display()))?;
        let mut tokenizer = Tokenizer::from_bytes(&bytes)
            .map_err(|error| format!("{} holds no tokenizer: {error}", path.display()))?;
        let untruncated = tokenizer.with_truncation(None).map(|_| ());
        untruncated.map_err(|error| format!("{} cannot be used: {error}", path.display()))?;
        tokenizer.with_padding(None);
        Ok(Self { tokenizer, counts: Vec::new(), train: 0, validation: 0, longest: None })
    }

    /// Counts a record of the training or of the validation data.
    ///
    /// # Errors
    /// Why the tokenizer cannot read it, without its content.
    pub(crate) fn count(&mut self, record: &TrainingRecord, is_validation: bool) -> Result<(), String> {
        let mut tokens = 0;
        for text in record.content.texts() {
            let encoded = self.tokenizer.encode_fast(text, false);
            let encoded = encoded.map_err(|error| {
                format!("the tokenizer cannot read record {}: {error}", record.document_id)
            })?;
            tokens += encoded.len();
        }
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        self.counts.push(tokens);
        let side = if is_validation { &mut self.validation } else { &mut self.train };
        *side += u64::from(tokens);
        if self.longest.as_ref().is_none_or(|(longest, _)| tokens > *longest) {
            self.longest = Some((tokens, record.document_id.clone()));
        }
        Ok(())
    }

    /// The sums; `None` when no record was counted.
    pub(crate) fn report(mut self) -> Option<TokenReport> {
        self.counts.sort_unstable();
        let (longest, longest_record) = self.longest?;
        Some(TokenReport {
            train: self.train,
            validation: self.validation,
            p50: percentile(&self.counts, 50),
            p95: percentile(&self.counts, 95),
            longest,
            longest_record,
        })
    }
}

/// The least count that `percent` of 100 records do not exceed (nearest rank).
fn percentile(sorted: &[u32], percent: usize) -> u32 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}
