//! The words before a number, which tell what it is.

/// So much text before a number is looked at, in bytes.
const CONTEXT_BYTES: usize = 40;

const PHONE: [&str; 14] = [
    "tel",
    "telefon",
    "telefonnummer",
    "telefax",
    "fax",
    "mobil",
    "mobiltelefon",
    "handy",
    "handynummer",
    "rufnummer",
    "durchwahl",
    "fon",
    "phone",
    "telefonisch",
];
const TAX: [&str; 8] = [
    "steuernummer",
    "steuernr",
    "stnr",
    "steueridentifikationsnummer",
    "steuerid",
    "identifikationsnummer",
    "idnr",
    "steuer",
];
const OTHER_NUMBER: [&str; 21] = [
    "aktenzeichen",
    "az",
    "geschaeftszeichen",
    "geschäftszeichen",
    "gz",
    "kassenzeichen",
    "nr",
    "§",
    "art",
    "artikel",
    "abs",
    "absatz",
    "drs",
    "drucksache",
    "bgbl",
    "seite",
    "s",
    "isbn",
    "ecli",
    "rn",
    "vorgangsnummer",
];

/// `St.-Nr.`, whose words alone would say nothing.
const TAX_FORMS: [&str; 4] = ["st.-nr", "st.nr", "st. nr", "st-nr"];

/// What the words before a number say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    /// A phone number follows.
    Phone,
    /// A tax number follows.
    Tax,
    /// The number of a file, a section, a page follows.
    OtherNumber,
    /// Nothing.
    None,
}

/// What the words before `at` say; the last word that says something counts.
pub(super) fn context(text: &str, at: usize) -> Context {
    let before = text.get(text.floor_char_boundary(at.saturating_sub(CONTEXT_BYTES))..at).unwrap_or_default();
    // Another number ends what the words before it say, and so does the end of a line.
    let start =
        before.rfind(|letter: char| letter.is_ascii_digit() || letter == '\n').map_or(0, |digit| digit + 1);
    let said = before.get(start..).unwrap_or_default().to_lowercase();
    if TAX_FORMS.iter().any(|form| said.contains(form)) {
        return Context::Tax;
    }
    let words = said
        .split(|letter: char| !(letter.is_alphanumeric() || letter == '§'))
        .filter(|word| !word.is_empty());
    let mut found = Context::None;
    // `Steuer-Nr.` and `Tel.-Nr.` end in a word that alone would say something else.
    for word in words {
        found = match found {
            Context::Phone | Context::Tax if OTHER_NUMBER.contains(&word) => found,
            _ if PHONE.contains(&word) => Context::Phone,
            _ if TAX.contains(&word) => Context::Tax,
            _ if OTHER_NUMBER.contains(&word) => Context::OtherNumber,
            other => other,
        };
    }
    found
}
