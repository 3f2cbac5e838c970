//! Where a source lies, told by how the job names it.

#[cfg(test)]
mod tests;

/// Where a source lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// `@NAME`: a server that the worker's settings describe.
    Server(&'a str),
    /// `http://…`, `https://…`, `s3://…`, `gs://…`: files elsewhere.
    Url(&'a str),
    /// Anything else: a file, folder or glob of this machine.
    Local(&'a str),
}

impl<'a> Place<'a> {
    /// The place of a source.
    pub fn of(source: &'a str) -> Self {
        if source.starts_with('@') {
            return Self::Server(source);
        }
        let is_word = |scheme: &str| {
            scheme.len() > 1
                && scheme.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.'))
        };
        match source.split_once("://") {
            Some((scheme, _)) if is_word(scheme) => Self::Url(source),
            Some(_) | None => Self::Local(source),
        }
    }

    /// Whether documents of it must be fetched before they can be read.
    pub fn is_remote(self) -> bool {
        match self {
            Self::Server(_) | Self::Url(_) => true,
            Self::Local(_) => false,
        }
    }
}
