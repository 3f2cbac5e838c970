//! Tells the language of a text, where it is long enough to be told.

#[cfg(test)]
mod tests;

use whatlang::Lang;

/// A text with fewer letters is of no known language.
const LEAST_LETTERS: usize = 60;
/// So much of a long text is looked at, in bytes, from its middle.
const MOST_BYTES: usize = 1_000;

/// ISO 639-1 code and language, for the languages that can be told.
const CODES: [(&str, Lang); 60] = [
    ("af", Lang::Afr),
    ("am", Lang::Amh),
    ("ar", Lang::Ara),
    ("az", Lang::Aze),
    ("be", Lang::Bel),
    ("bg", Lang::Bul),
    ("bn", Lang::Ben),
    ("ca", Lang::Cat),
    ("cs", Lang::Ces),
    ("cy", Lang::Cym),
    ("da", Lang::Dan),
    ("de", Lang::Deu),
    ("el", Lang::Ell),
    ("en", Lang::Eng),
    ("eo", Lang::Epo),
    ("es", Lang::Spa),
    ("et", Lang::Est),
    ("fa", Lang::Pes),
    ("fi", Lang::Fin),
    ("fr", Lang::Fra),
    ("gu", Lang::Guj),
    ("he", Lang::Heb),
    ("hi", Lang::Hin),
    ("hr", Lang::Hrv),
    ("hu", Lang::Hun),
    ("hy", Lang::Hye),
    ("id", Lang::Ind),
    ("it", Lang::Ita),
    ("ja", Lang::Jpn),
    ("ka", Lang::Kat),
    ("km", Lang::Khm),
    ("kn", Lang::Kan),
    ("ko", Lang::Kor),
    ("la", Lang::Lat),
    ("lt", Lang::Lit),
    ("lv", Lang::Lav),
    ("mk", Lang::Mkd),
    ("ml", Lang::Mal),
    ("mr", Lang::Mar),
    ("my", Lang::Mya),
    ("nb", Lang::Nob),
    ("ne", Lang::Nep),
    ("nl", Lang::Nld),
    ("pa", Lang::Pan),
    ("pl", Lang::Pol),
    ("pt", Lang::Por),
    ("ro", Lang::Ron),
    ("ru", Lang::Rus),
    ("sk", Lang::Slk),
    ("sl", Lang::Slv),
    ("sr", Lang::Srp),
    ("sv", Lang::Swe),
    ("ta", Lang::Tam),
    ("te", Lang::Tel),
    ("th", Lang::Tha),
    ("tr", Lang::Tur),
    ("uk", Lang::Ukr),
    ("ur", Lang::Urd),
    ("vi", Lang::Vie),
    ("zh", Lang::Cmn),
];

/// Other codes of three letters for some of them: the bibliographic ones of ISO 639-2, and those of macrolanguages.
const OTHER_CODES: [(&str, &str); 16] = [
    ("chi", "zh"),
    ("zho", "zh"),
    ("cze", "cs"),
    ("dut", "nl"),
    ("fas", "fa"),
    ("per", "fa"),
    ("fre", "fr"),
    ("geo", "ka"),
    ("ger", "de"),
    ("gre", "el"),
    ("arm", "hy"),
    ("mac", "mk"),
    ("bur", "my"),
    ("rum", "ro"),
    ("slo", "sk"),
    ("wel", "cy"),
];

/// The code of a language as ISO 639-1 where that has one, else as it is: `de` for `deu`, `ger`, `de-DE` and `DE`.
pub(crate) fn short_code(code: &str) -> String {
    let language = code.trim().split(['-', '_']).next().unwrap_or_default().to_lowercase();
    let known = CODES.iter().find(|(_, known)| known.code() == language).map(|(short, _)| *short);
    let other = OTHER_CODES.iter().find(|(other, _)| *other == language).map(|(_, short)| *short);
    known.or(other).map_or(language, str::to_owned)
}

/// The ISO 639-1 code of a language that can be told, by any of its codes: `de` for `DE` and `deu`; `None` for others.
pub fn language_code(code: &str) -> Option<String> {
    Some(short_code(code)).filter(|short| is_known(short))
}

/// Whether the language of this ISO 639-1 code can be told.
pub(crate) fn is_known(code: &str) -> bool {
    CODES.iter().any(|(known, _)| *known == code)
}

/// The code of the language that the texts are in and how sure that is (0–1); `None` when it cannot be told, as of short texts.
pub(crate) fn language(texts: &[&str]) -> Option<(&'static str, f64)> {
    let longest = texts.iter().max_by_key(|text| text.len())?;
    let part = middle(longest);
    let letters = part.chars().filter(|letter| letter.is_alphabetic()).take(LEAST_LETTERS).count();
    if letters < LEAST_LETTERS {
        return None;
    }
    let info = whatlang::detect(part).filter(whatlang::Info::is_reliable)?;
    let (code, _) = CODES.iter().find(|(_, language)| *language == info.lang())?;
    Some((code, info.confidence()))
}

/// The middle of a long text: its head and its foot hold titles and addresses.
fn middle(text: &str) -> &str {
    if text.len() <= MOST_BYTES {
        return text;
    }
    let start = text.floor_char_boundary((text.len() - MOST_BYTES) / 2);
    let end = text.floor_char_boundary(start + MOST_BYTES);
    text.get(start..end).unwrap_or(text)
}
