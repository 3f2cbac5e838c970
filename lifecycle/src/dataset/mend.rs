//! What `manifest.json` says about texts that were mended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What was changed in the texts of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mend {
    /// Text that was decoded with the wrong character set, such as `fÃ¼r`.
    Encoding,
    /// Characters that were not composed (NFC).
    Unicode,
    /// Control characters and characters that no reader sees.
    Invisible,
    /// Words that were hyphenated at the end of a line.
    Hyphenation,
    /// Blanks: runs of them, unusual ones, and line ends.
    Blanks,
    /// Lines of page headers and footers, and page numbers.
    Boilerplate,
    /// E-mail addresses, masked.
    Email,
    /// Phone numbers, masked.
    Phone,
    /// IBANs, masked.
    Iban,
    /// Tax numbers, masked.
    TaxNumber,
    /// Dates of birth, masked.
    BirthDate,
}

impl Mend {
    /// The name in `manifest.json` and for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Encoding => "encoding",
            Self::Unicode => "unicode",
            Self::Invisible => "invisible",
            Self::Hyphenation => "hyphenation",
            Self::Blanks => "blanks",
            Self::Boilerplate => "boilerplate",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Iban => "iban",
            Self::TaxNumber => "tax_number",
            Self::BirthDate => "birth_date",
        }
    }
}

impl fmt::Display for Mend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How often something was mended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MendCount {
    /// Documents with at least one place.
    pub documents: u64,
    /// Places in all of them.
    pub places: u64,
}
