//! Names of statutes: short ones such as `BauGB`, long ones such as `Baugesetzbuch`.

use std::collections::BTreeSet;

use super::token::Token;
use crate::text::fold;

/// Long names, folded and without the ending of the genitive, with their short names.
const LONG_NAMES: [(&str, &str); 24] = [
    ("abgabenordnung", "AO"),
    ("aufenthaltsgesetz", "AufenthG"),
    ("baugesetzbuch", "BauGB"),
    ("baunutzungsverordnung", "BauNVO"),
    ("bundesdatenschutzgesetz", "BDSG"),
    ("bundesfernstrassengesetz", "FStrG"),
    ("bundesimmissionsschutzgesetz", "BImSchG"),
    ("bundesnaturschutzgesetz", "BNatSchG"),
    ("datenschutzgrundverordnung", "DSGVO"),
    ("einkommensteuergesetz", "EStG"),
    ("energiewirtschaftsgesetz", "EnWG"),
    ("gerichtsverfassungsgesetz", "GVG"),
    ("gewerbeordnung", "GewO"),
    ("gewerbesteuergesetz", "GewStG"),
    ("grundgesetz", "GG"),
    ("handelsgesetzbuch", "HGB"),
    ("koerperschaftsteuergesetz", "KStG"),
    ("strafgesetzbuch", "StGB"),
    ("strafprozessordnung", "StPO"),
    ("umsatzsteuergesetz", "UStG"),
    ("verwaltungsgerichtsordnung", "VwGO"),
    ("verwaltungsverfahrensgesetz", "VwVfG"),
    ("wasserhaushaltsgesetz", "WHG"),
    ("zivilprozessordnung", "ZPO"),
];

/// Lands behind the short name of a statute of theirs, as in `BauO NRW`.
const LANDS: [&str; 9] = ["NRW", "NW", "BW", "Bln", "LSA", "SH", "MV", "RP", "SN"];

/// How other long names end; their last word names the statute.
const ENDINGS: [&str; 5] = ["gesetz", "gesetzbuch", "ordnung", "verordnung", "satzung"];

/// The statute that the tokens begin with, as written or by its short name, and how many tokens name it.
pub(super) fn at(tokens: &[Token]) -> Option<(String, usize)> {
    let word = tokens.first()?.word()?;
    if is_short_name(word) {
        let is_rest = |next: &&str| match word {
            "SGB" => roman(next).is_some(),
            _ => LANDS.contains(next),
        };
        if let Some(rest) = tokens.get(1).and_then(Token::word).filter(is_rest) {
            return Some((format!("{word} {rest}"), 2));
        }
        return Some((word.to_owned(), 1));
    }
    let folded = fold(word);
    if folded.starts_with("buergerliche")
        && let Some(next) = tokens.get(1).and_then(Token::word)
        && without_genitive(&fold(next)) == "gesetzbuch"
    {
        return Some(("BGB".to_owned(), 2));
    }
    if !word.starts_with(char::is_uppercase) {
        return None;
    }
    let stem = without_genitive(&folded);
    if let Some((_, short)) = LONG_NAMES.iter().find(|(long, _)| *long == stem) {
        return Some(((*short).to_owned(), 1));
    }
    let is_long = ENDINGS.iter().any(|ending| stem.len() > ending.len() && stem.ends_with(ending));
    is_long.then(|| (word.to_owned(), 1))
}

/// The names of all statutes among the tokens, comparable by [`key`].
pub(super) fn names(tokens: &[Token]) -> BTreeSet<String> {
    (0..tokens.len()).filter_map(|index| at(tokens.get(index..)?)).map(|(name, _)| key(&name)).collect()
}

/// The form in which names are compared.
pub(super) fn key(name: &str) -> String {
    without_genitive(&fold(name)).to_owned()
}

/// The value of a Roman number up to 39.
pub(super) fn roman(word: &str) -> Option<u32> {
    let tens = word.chars().take_while(|character| *character == 'X').count();
    let ones = word.get(tens..)?;
    let ones = match ones {
        "" => 0,
        "I" => 1,
        "II" => 2,
        "III" => 3,
        "IV" => 4,
        "V" => 5,
        "VI" => 6,
        "VII" => 7,
        "VIII" => 8,
        "IX" => 9,
        _ => return None,
    };
    let value = u32::try_from(tens).ok().filter(|tens| *tens <= 3)? * 10 + ones;
    (value > 0).then_some(value)
}

/// Short names have two capital letters or more and no blanks.
fn is_short_name(word: &str) -> bool {
    let capitals = word.chars().filter(|character| character.is_uppercase()).count();
    word.starts_with(char::is_uppercase)
        && capitals >= 2
        && word.chars().count() <= 20
        && roman(word).is_none()
}

fn without_genitive(folded: &str) -> &str {
    let stem = ["buches", "buchs", "gesetzes"].iter().find(|ending| folded.ends_with(**ending));
    match stem {
        Some(&"buchs") => folded.strip_suffix('s').unwrap_or(folded),
        Some(_) => folded.strip_suffix("es").unwrap_or(folded),
        None => folded,
    }
}
