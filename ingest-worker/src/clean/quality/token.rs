//! What stands between two blanks: a word, a number, a link, or noise.

/// A longer word, in letters, is none.
const LONGEST_WORD: u64 = 60;

/// What stands between two blanks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// A word.
    Word {
        /// Its letters.
        letters: u64,
    },
    /// Letters without being a word, as statutes are cited: `VwVfG`, `Nr.`, `35a`.
    Abbreviation,
    /// Digits or signs alone.
    Number,
    /// A link or an address.
    Link,
    /// Nothing that anyone wrote: `Verwa1tung`, `dEr`, `xkcdq`, `V`.
    Noise,
}

pub(super) fn token(text: &str) -> Token {
    if is_link(text) {
        return Token::Link;
    }
    let bare = text.trim_matches(|sign: char| !sign.is_alphanumeric());
    if bare.is_empty() || !bare.contains(char::is_alphabetic) {
        return Token::Number;
    }
    if bare.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return word_part(bare, text);
    }
    let mut worst = Token::Word { letters: 0 };
    let mut letters = 0;
    for part in bare.split(['-', '–', '/', '\'', '’', '.', ',', ':', ';', '(', ')', '*']) {
        match word_part(part, text) {
            Token::Word { letters: more } => letters += more,
            Token::Noise => return Token::Noise,
            other => worst = other,
        }
    }
    match worst {
        Token::Word { .. } | Token::Number if letters > 0 => Token::Word { letters },
        other => other,
    }
}

fn is_link(text: &str) -> bool {
    // Nearly all words end here.
    if !text.bytes().any(|byte| matches!(byte, b':' | b'.' | b'@')) {
        return false;
    }
    text.contains("://")
        || text.contains("www.")
        || text.contains('@')
        || text.contains(".html")
        || text.contains(".php")
}

/// A part between hyphens and other inner signs of the token `whole`.
fn word_part(part: &str, whole: &str) -> Token {
    let (mut letters, mut digits, mut others, mut vowels, mut capitals) = (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
    let (mut inner_capital, mut longest_row, mut row, mut before) = (false, 0, 0, ' ');
    for (index, letter) in part.chars().enumerate() {
        row = if letter == before { row + 1 } else { 1 };
        longest_row = longest_row.max(row);
        if letter.is_alphabetic() {
            letters += 1;
            vowels += u64::from(is_vowel(letter));
            capitals += u64::from(letter.is_uppercase());
            inner_capital |= index > 0 && letter.is_uppercase();
        } else if letter.is_ascii_digit() {
            digits += 1;
        } else {
            others += 1;
        }
        before = letter;
    }
    if letters == 0 {
        return Token::Number;
    }
    if digits > 0 || others > 0 {
        // `35a`, `m2`, `A4`; but `Verwa1tung`.
        return if letters <= 2 && others == 0 { Token::Abbreviation } else { Token::Noise };
    }
    if longest_row > 3 || letters > LONGEST_WORD {
        return Token::Noise;
    }
    let ends_abbreviation = whole.contains('.');
    match (letters, vowels) {
        (1, _) if ends_abbreviation || whole.contains([')', '-', '\'', '’', '/', ',']) => {
            Token::Abbreviation
        }
        (1, _) => Token::Noise,
        _ if capitals == letters => {
            if letters <= 6 || vowels > 0 {
                Token::Abbreviation
            } else {
                Token::Noise
            }
        }
        // `VwVfG`, `BauGB`, `SchülerInnen`; but `dEr`, `veRwalTung`.
        _ if inner_capital => {
            if part.starts_with(char::is_uppercase) {
                Token::Abbreviation
            } else {
                Token::Noise
            }
        }
        (2 | 3, 0) => Token::Abbreviation,
        (_, 0) if ends_abbreviation => Token::Abbreviation,
        (_, 0) if is_latin(part) => Token::Noise,
        _ => Token::Word { letters },
    }
}

fn is_vowel(letter: char) -> bool {
    matches!(
        letter.to_ascii_lowercase(),
        'a' | 'e' | 'i' | 'o' | 'u' | 'y' | 'ä' | 'ö' | 'ü' | 'Ä' | 'Ö' | 'Ü' | 'à'..='æ' | 'è'..='ï' | 'ò'..='ö' | 'ø'..='ý'
            | 'À'..='Æ' | 'È'..='Ï' | 'Ò'..='Ö' | 'Ø'..='Ý'
    )
}

/// Whether vowels can be told at all.
fn is_latin(part: &str) -> bool {
    part.chars().all(|letter| letter < '\u{250}')
}
