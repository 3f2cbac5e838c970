//! Flags of the training data: where it comes from, what of it is kept, what it becomes.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use clara_ingest_worker::{fetch::Place, language_code};
use clara_lifecycle::spec::{FieldNames, IngestOptions, PersonalData, RecordOrder, RecordShape};

use crate::usage::usage;

use super::{absolute, from_name, pair, set, set_some};

/// Where documents come from.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SourceArgs {
    /// Rank documents by this query and keep those that match
    #[arg(long, value_name = "WORDS")]
    pub(crate) query: Option<String>,
    /// Training data: files, folders and globs, http(s)://, s3:// and gs:// URLs, and @NAME of a server that the settings
    /// describe under [sources.NAME]. Needed here or in --spec
    #[arg(long = "source", value_name = "PATH|URL|@NAME", num_args = 1..)]
    pub(crate) sources: Vec<PathBuf>,
}

/// Options of the training data.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Training data")]
pub(crate) struct DataArgs {
    /// Keep at most so many of the most relevant documents; needs --query
    #[arg(long, value_name = "DOCUMENTS", allow_negative_numbers = true)]
    top_k: Option<u32>,
    /// Least relevance, measured by the best document (0 to 1); needs --query
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    min_relevance: Option<f64>,
    /// What a field is called in the sources, e.g. text=body where the text stands in `body`
    #[arg(long = "field", value_name = "FIELD=NAME", value_parser = pair)]
    fields: Vec<(String, String)>,
    /// What running text becomes: text, completion (its heading is given) or instruction (a question is given) [default: text]
    #[arg(long, value_name = "SHAPE", value_parser = from_name::<RecordShape>)]
    records: Option<RecordShape>,
    /// Order of the records: source, shuffle or curriculum (short and simple ones first; training keeps it only with
    /// `shuffle = false` in its section of --spec) [default: source]
    #[arg(long, value_name = "ORDER", value_parser = from_name::<RecordOrder>)]
    order: Option<RecordOrder>,
    /// Languages to keep, as ISO 639 codes, e.g. de,en [default: all]
    #[arg(long, value_name = "CODES", value_delimiter = ',', value_parser = language)]
    languages: Vec<String>,
    /// Similarity (0 to 1) to an earlier document from which a document is left out; 1 keeps all [default: 0.85]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    near_duplicates: Option<f64>,
    /// Least quality (0 to 1) of a document [default: 0, all]
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    min_quality: Option<f64>,
    /// Leave e-mail addresses, phone numbers, IBANs, tax numbers and dates of birth as they are instead of masking them
    #[arg(long, conflicts_with = "drop_personal_data")]
    keep_personal_data: bool,
    /// Leave out documents with such data instead of masking it
    #[arg(long)]
    drop_personal_data: bool,
    /// Read the sources anew, even where a stored dataset of the same sources and options could be taken
    #[arg(long)]
    fresh: bool,
}

/// Options that compare with the earlier datasets of the adapter's family, which only a job has.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Training data")]
pub(crate) struct FamilyArgs {
    /// Take only what changed since the newest dataset of the adapter's family, where the source can tell
    #[arg(long)]
    since_last: bool,
    /// Leave out documents that an earlier dataset of the adapter's family holds
    #[arg(long)]
    skip_known: bool,
}

impl SourceArgs {
    /// Changes what was given. Paths that are here are made absolute, with the weights that name them.
    pub(crate) fn apply(&self, ingest: &mut IngestOptions) {
        if !self.sources.is_empty() {
            ingest.sources = self.sources.iter().map(|path| path.display().to_string()).collect();
        }
        for source in &mut ingest.sources {
            *source = here(source);
        }
        let weights = std::mem::take(&mut ingest.shape.weights);
        // Weights name the sources as they are written, and must go on to do so.
        ingest.shape.weights = weights.into_iter().map(|(source, weight)| (here(&source), weight)).collect();
        set_some(&mut ingest.query, self.query.as_ref());
    }
}

impl DataArgs {
    /// Changes what was given.
    pub(crate) fn apply(&self, ingest: &mut IngestOptions) -> Result<()> {
        set_some(&mut ingest.top_k, self.top_k.as_ref());
        set(&mut ingest.min_relevance, self.min_relevance);
        set(&mut ingest.shape.records, self.records);
        set(&mut ingest.shape.order, self.order);
        set(&mut ingest.clean.near_duplicate_limit, self.near_duplicates);
        set(&mut ingest.clean.min_quality, self.min_quality);
        if !self.languages.is_empty() {
            ingest.clean.languages.clone_from(&self.languages);
        }
        if self.keep_personal_data {
            ingest.clean.personal_data = PersonalData::Keep;
        }
        if self.drop_personal_data {
            ingest.clean.personal_data = PersonalData::Drop;
        }
        ingest.fresh |= self.fresh;
        for (field, name) in &self.fields {
            field_name(&mut ingest.fields, field)?.clone_from(name);
        }
        Ok(())
    }
}

impl FamilyArgs {
    /// Changes what was given.
    pub(crate) fn apply(&self, ingest: &mut IngestOptions) {
        ingest.since_last |= self.since_last;
        ingest.clean.skip_known |= self.skip_known;
    }
}

fn field_name<'a>(fields: &'a mut FieldNames, field: &str) -> Result<&'a mut String> {
    Ok(match field {
        "text" => &mut fields.text,
        "instruction" => &mut fields.instruction,
        "input" => &mut fields.input,
        "output" => &mut fields.output,
        "messages" => &mut fields.messages,
        "prompt" => &mut fields.prompt,
        "completion" => &mut fields.completion,
        "id" => &mut fields.id,
        "domain" => &mut fields.domain,
        "licence" | "license" => &mut fields.licence,
        "classification" => &mut fields.classification,
        _ => {
            return Err(usage(format!(
                "--field {field}=… names no field; expected text, instruction, input, output, messages, prompt, \
                 completion, id, domain, licence or classification before the `=`"
            )));
        }
    })
}

fn language(code: &str) -> Result<String, String> {
    language_code(code).ok_or_else(|| {
        "it is no code of a language that can be told; expected ISO 639-1 codes such as `de`".to_owned()
    })
}

/// A source as a worker in another folder needs it.
fn here(source: &str) -> String {
    if Place::of(source).is_remote() { source.to_owned() } else { local(source) }
}

/// The absolute form of a path that is here, and of a glob below a folder that is here.
fn local(source: &str) -> String {
    let path = Path::new(source);
    if path.exists() || !source.contains(['*', '?', '[']) {
        return absolute(source);
    }
    std::path::absolute(path).map_or_else(|_| source.to_owned(), |path| path.display().to_string())
}
