//! What a job asks of the ingest stage.

use clara_lifecycle::spec::{
    CleanOptions, FieldNames, IngestOptions, PersonalData, RecordOrder, RecordShape, RerankOptions,
    ShapeOptions,
};

use super::{ConvertError, names::known, required};
use crate::v1;

impl From<IngestOptions> for v1::IngestOptions {
    fn from(options: IngestOptions) -> Self {
        Self {
            sources: options.sources,
            fields: Some(options.fields.into()),
            query: options.query,
            top_k: options.top_k,
            min_relevance: options.min_relevance,
            min_chars: options.min_chars,
            max_chars: options.max_chars,
            chunk_chars: options.chunk_chars,
            overlap_ngram_words: options.overlap_ngram_words,
            overlap_limit: options.overlap_limit,
            validation_share: options.validation_share,
            max_broken_share: options.max_broken_share,
            seed: options.seed,
            rerank: options.rerank.map(Into::into),
            since_last: options.since_last,
            fresh: options.fresh,
            clean: Some(options.clean.into()),
            shape: Some(options.shape.into()),
        }
    }
}

impl TryFrom<v1::IngestOptions> for IngestOptions {
    type Error = ConvertError;

    fn try_from(options: v1::IngestOptions) -> Result<Self, ConvertError> {
        Ok(Self {
            sources: options.sources,
            fields: required("spec.ingest.fields", options.fields)?.into(),
            query: options.query,
            top_k: options.top_k,
            min_relevance: options.min_relevance,
            min_chars: options.min_chars,
            max_chars: options.max_chars,
            chunk_chars: options.chunk_chars,
            overlap_ngram_words: options.overlap_ngram_words,
            overlap_limit: options.overlap_limit,
            validation_share: options.validation_share,
            max_broken_share: options.max_broken_share,
            seed: options.seed,
            rerank: options.rerank.map(Into::into),
            since_last: options.since_last,
            fresh: options.fresh,
            clean: options.clean.map(TryInto::try_into).transpose()?.unwrap_or_default(),
            shape: options.shape.map(TryInto::try_into).transpose()?.unwrap_or_default(),
        })
    }
}

impl From<FieldNames> for v1::FieldNames {
    fn from(names: FieldNames) -> Self {
        let FieldNames { text, instruction, input, output, messages, prompt, completion, id, domain, .. } =
            names;
        let FieldNames { licence, classification, .. } = names;
        Self {
            text,
            instruction,
            input,
            output,
            messages,
            prompt,
            completion,
            id,
            domain,
            licence,
            classification,
        }
    }
}

impl From<v1::FieldNames> for FieldNames {
    fn from(names: v1::FieldNames) -> Self {
        let usual = Self::default();
        let or_usual = |name: String, usual: String| if name.is_empty() { usual } else { name };
        Self {
            text: names.text,
            instruction: names.instruction,
            input: names.input,
            output: names.output,
            messages: names.messages,
            prompt: names.prompt,
            completion: names.completion,
            id: names.id,
            domain: names.domain,
            licence: or_usual(names.licence, usual.licence),
            classification: or_usual(names.classification, usual.classification),
        }
    }
}

impl From<CleanOptions> for v1::CleanOptions {
    fn from(options: CleanOptions) -> Self {
        Self {
            normalize: options.normalize,
            boilerplate: options.boilerplate,
            languages: options.languages,
            near_duplicate_limit: options.near_duplicate_limit,
            golden_similarity_limit: options.golden_similarity_limit,
            skip_known: options.skip_known,
            min_quality: options.min_quality,
            repetition_limit: options.repetition_limit,
            personal_data: v1::PersonalData::from(options.personal_data).into(),
            licences: options.licences,
            classifications: options.classifications,
        }
    }
}

impl TryFrom<v1::CleanOptions> for CleanOptions {
    type Error = ConvertError;

    fn try_from(options: v1::CleanOptions) -> Result<Self, ConvertError> {
        Ok(Self {
            normalize: options.normalize,
            boilerplate: options.boilerplate,
            languages: options.languages,
            near_duplicate_limit: options.near_duplicate_limit,
            golden_similarity_limit: options.golden_similarity_limit,
            skip_known: options.skip_known,
            min_quality: options.min_quality,
            repetition_limit: options.repetition_limit,
            personal_data: known::<v1::PersonalData, PersonalData>(
                "spec.ingest.clean.personal_data",
                options.personal_data,
            )?,
            licences: options.licences,
            classifications: options.classifications,
        })
    }
}

impl From<ShapeOptions> for v1::ShapeOptions {
    fn from(options: ShapeOptions) -> Self {
        Self {
            records: v1::RecordShape::from(options.records).into(),
            questions: options.questions,
            cite: options.cite,
            order: v1::RecordOrder::from(options.order).into(),
            cluster: options.cluster,
            weights: options.weights.into_iter().collect(),
        }
    }
}

impl TryFrom<v1::ShapeOptions> for ShapeOptions {
    type Error = ConvertError;

    fn try_from(options: v1::ShapeOptions) -> Result<Self, ConvertError> {
        Ok(Self {
            records: known::<v1::RecordShape, RecordShape>("spec.ingest.shape.records", options.records)?,
            questions: options.questions,
            cite: options.cite,
            order: known::<v1::RecordOrder, RecordOrder>("spec.ingest.shape.order", options.order)?,
            cluster: options.cluster,
            weights: options.weights.into_iter().collect(),
        })
    }
}

impl From<RerankOptions> for v1::RerankOptions {
    fn from(options: RerankOptions) -> Self {
        let RerankOptions { endpoint, model, api_key_env, candidates, weight } = options;
        Self { endpoint, model, api_key_env, candidates, weight }
    }
}

impl From<v1::RerankOptions> for RerankOptions {
    fn from(options: v1::RerankOptions) -> Self {
        let v1::RerankOptions { endpoint, model, api_key_env, candidates, weight } = options;
        Self { endpoint, model, api_key_env, candidates, weight }
    }
}
