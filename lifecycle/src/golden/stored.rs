//! The JSON shape of a golden dataset, with the counts that are written but never trusted.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::{Difficulty, GoldenDataset, GoldenSample};
use crate::id::{Domain, GoldenDatasetId};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredDataset {
    dataset_id: GoldenDatasetId,
    domain: Domain,
    version: Version,
    #[serde(default)]
    description: String,
    samples: Vec<GoldenSample>,
    #[serde(default)]
    created_at: String,
    #[serde(default = "system")]
    created_by: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    total_samples: u64,
    #[serde(default)]
    difficulty_distribution: BTreeMap<Difficulty, u64>,
}

fn system() -> String {
    "system".to_owned()
}

impl From<StoredDataset> for GoldenDataset {
    fn from(stored: StoredDataset) -> Self {
        let mut dataset = Self {
            dataset_id: stored.dataset_id,
            domain: stored.domain,
            version: stored.version,
            description: stored.description,
            samples: stored.samples,
            created_at: stored.created_at,
            created_by: stored.created_by,
            tags: stored.tags,
        };
        dataset.fill_in();
        dataset
    }
}

impl From<GoldenDataset> for StoredDataset {
    fn from(dataset: GoldenDataset) -> Self {
        Self {
            total_samples: dataset.samples.len() as u64,
            difficulty_distribution: dataset.difficulty_distribution(),
            dataset_id: dataset.dataset_id,
            domain: dataset.domain,
            version: dataset.version,
            description: dataset.description,
            samples: dataset.samples,
            created_at: dataset.created_at,
            created_by: dataset.created_by,
            tags: dataset.tags,
        }
    }
}
