//! Algorithms that were chosen by their time, kept on disk: the next process takes the same, and so gives the same sums.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use clara_lifecycle::digest::Digest;

use super::{Place, library::Algorithm};
use crate::cuda::compiler::{entry_bytes, read_entry};

/// A folder of choices; nothing is kept without one.
#[derive(Debug)]
pub(super) struct Choices(Option<PathBuf>);

impl Choices {
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self(folder)
    }

    fn path(&self, place: &Place) -> Option<PathBuf> {
        let name = Digest::of(format!("{place:?}").as_bytes());
        self.0.as_ref().map(|folder| folder.join(format!("{name}.algorithm")))
    }

    /// What was chosen before, and of how many.
    pub(super) fn read(&self, place: &Place) -> Option<(Algorithm, usize)> {
        let bytes = read_entry(&self.path(place)?)?;
        let (algorithm, candidates) = bytes.split_at_checked(Algorithm::BYTES)?;
        let candidates = u32::from_le_bytes(candidates.try_into().ok()?);
        Some((Algorithm::from_bytes(algorithm)?, usize::try_from(candidates).ok()?))
    }

    /// Keeps a choice; returns the one that counts: another process may have been first.
    pub(super) fn keep(&self, place: &Place, choice: (Algorithm, usize)) -> (Algorithm, usize) {
        let Some(path) = self.path(place) else { return choice };
        let (algorithm, candidates) = choice;
        let mut bytes = algorithm.to_bytes().to_vec();
        bytes.extend(u32::try_from(candidates).unwrap_or(u32::MAX).to_le_bytes());
        if let Err(error) = write_first(&path, &entry_bytes(&bytes)) {
            tracing::warn!(
                "cannot keep {}, so the next process may choose another algorithm: {error}",
                path.display()
            );
        }
        self.read(place).unwrap_or(choice)
    }
}

/// Writes a whole file, unless a readable one is there.
fn write_first(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let unfinished = path.with_extension(format!("{}.unfinished", process::id()));
    fs::write(&unfinished, bytes)?;
    let linked = fs::hard_link(&unfinished, path);
    let written = match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && read_entry(path).is_none() => {
            return fs::rename(&unfinished, path);
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    // What remains is of no use to anyone.
    let _ = fs::remove_file(&unfinished);
    written
}

#[cfg(test)]
mod tests {
    use super::{super::Key, *};
    use crate::cuda::{Address, Element, Gemm, Operand};

    fn place() -> Place {
        let operand = Operand { address: Address(256), stride: 8, transposed: false };
        let (a, b, d) = (operand, operand, operand);
        let gemm = Gemm { m: 8, n: 8, k: 8, alpha: 1.0, a, b, c: None, d, result: Element::Bf16, bias: None };
        (13, "a GPU".to_owned(), Key::new(&gemm).unwrap())
    }

    fn algorithm(byte: u8) -> Algorithm {
        Algorithm::from_bytes(&[byte; Algorithm::BYTES]).unwrap()
    }

    #[test]
    fn the_first_choice_counts_until_its_file_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let choices = Choices::new(Some(folder.path().join("new")));
        assert_eq!(choices.read(&place()), None);
        assert_eq!(choices.keep(&place(), (algorithm(1), 8)), (algorithm(1), 8));
        assert_eq!(choices.keep(&place(), (algorithm(2), 5)), (algorithm(1), 8));
        assert_eq!(choices.read(&place()), Some((algorithm(1), 8)));
        let file = fs::read_dir(folder.path().join("new")).unwrap().next().unwrap().unwrap().path();
        fs::write(&file, b"damaged").unwrap();
        assert_eq!(choices.read(&place()), None);
        assert_eq!(choices.keep(&place(), (algorithm(2), 5)), (algorithm(2), 5));
    }

    #[test]
    fn nothing_is_kept_without_a_folder() {
        let choices = Choices::new(None);
        assert_eq!(choices.keep(&place(), (algorithm(1), 8)), (algorithm(1), 8));
        assert_eq!(choices.read(&place()), None);
    }
}
