//! Compares the finder with a comparison of all pairs.

use clara_lifecycle::dataset::TrainingContent;

use super::{
    Duplicates,
    signature::{Signer, jaccard, text_digest},
};
use crate::{share::share, source::Origin, words::Words};

/// How the finder agrees with the truth.
#[derive(Debug)]
#[expect(dead_code, reason = "all of it is printed")]
pub(super) struct Agreement {
    pub(super) texts: usize,
    /// Texts that are as similar as the limit to an earlier one.
    pub(super) duplicates: usize,
    pub(super) found: usize,
    /// Share of the duplicates that were found.
    pub(super) recall: f64,
    /// Share of the found texts that are duplicates.
    pub(super) precision: f64,
}

/// A text is a duplicate when an earlier kept one is as similar as `limit`. Whether texts are kept follows the truth on both sides, so that
/// one error does not lead to others.
pub(super) fn compare(texts: &[String], limit: f64) -> Agreement {
    let folder = tempfile::tempdir().unwrap();
    let mut duplicates = Duplicates::create(limit, folder.path(), folder.path()).unwrap();
    let (mut signer, mut words) = (Signer::new(), Words::default());
    let mut kept: Vec<Vec<u32>> = Vec::new();
    let (mut truly, mut found, mut both) = (0, 0, 0);
    for text in texts {
        let content = TrainingContent::Text { text: text.clone() };
        words.read(&content);
        let digest = text_digest(&content);
        signer.sign(digest, &content, &words);
        let is_duplicate = kept.iter().any(|earlier| jaccard(earlier, signer.shingles()) >= limit);
        let signature = duplicates.sign(digest, &content, &words);
        let is_found = duplicates.near(&signature).unwrap().is_some();
        truly += usize::from(is_duplicate);
        found += usize::from(is_found);
        both += usize::from(is_duplicate && is_found);
        if !is_duplicate {
            duplicates.keep(&signature, &Origin::file("text")).unwrap();
            kept.push(signer.shingles().to_vec());
        }
    }
    let share = |part: usize, whole: usize| share(part as u64, whole as u64);
    Agreement {
        texts: texts.len(),
        duplicates: truly,
        found,
        recall: share(both, truly),
        precision: share(both, found),
    }
}
