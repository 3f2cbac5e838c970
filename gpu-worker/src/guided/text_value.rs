//! The inside of a JSON string, byte by byte: valid UTF-8, escapes, a limit on characters.

/// Where a string value stands, after its opening quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextValue {
    chars_left: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between characters.
    Plain,
    /// After a backslash.
    Escape,
    /// Inside `\uXXXX`: digits left, and whether the code could still become a surrogate.
    Hex { left: u8, after_d: bool },
    /// Inside a character of several bytes: the range of the next byte, and bytes left.
    Tail { low: u8, high: u8, left: u8 },
}

impl TextValue {
    pub(super) fn new(max_chars: u32) -> Self {
        Self { chars_left: max_chars, state: State::Plain }
    }

    /// Whether only the closing quote may follow.
    pub(super) fn is_full(self) -> bool {
        self.chars_left == 0 && self.state == State::Plain
    }

    /// The same place with only the closing quote to follow; `None` inside of a character.
    pub(super) fn closed(self) -> Option<Self> {
        (self.state == State::Plain).then_some(Self { chars_left: 0, ..self })
    }

    /// The place after `byte`: `Some(None)` after the closing quote, `None` when the byte does not fit.
    #[expect(clippy::option_option, reason = "refused, ended and going on are three answers")]
    pub(super) fn advance(self, byte: u8) -> Option<Option<Self>> {
        let state = match self.state {
            State::Plain if byte == b'"' => return Some(None),
            State::Plain => {
                let chars_left = self.chars_left.checked_sub(1)?;
                return Some(Some(Self { chars_left, state: begin(byte)? }));
            }
            State::Escape => match byte {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::Plain,
                b'u' => State::Hex { left: 4, after_d: false },
                _ => return None,
            },
            State::Hex { left, after_d } => hex(left, after_d, byte)?,
            State::Tail { low, high, left } => {
                if !(low..=high).contains(&byte) {
                    return None;
                }
                if left == 1 { State::Plain } else { State::Tail { low: 0x80, high: 0xbf, left: left - 1 } }
            }
        };
        Some(Some(Self { state, ..self }))
    }
}

/// The first byte of a character; ranges of the second byte as in the Unicode Standard, table 3-7.
fn begin(byte: u8) -> Option<State> {
    let tail = |low, high, left| Some(State::Tail { low, high, left });
    match byte {
        b'\\' => Some(State::Escape),
        0x20..=0x7f => Some(State::Plain),
        0xc2..=0xdf => tail(0x80, 0xbf, 1),
        0xe0 => tail(0xa0, 0xbf, 2),
        0xed => tail(0x80, 0x9f, 2),
        0xe1..=0xef => tail(0x80, 0xbf, 2),
        0xf0 => tail(0x90, 0xbf, 3),
        0xf1..=0xf3 => tail(0x80, 0xbf, 3),
        0xf4 => tail(0x80, 0x8f, 3),
        _ => None,
    }
}

/// One digit of `\uXXXX`; surrogates (D800 to DFFF) are refused, because alone they are no character.
fn hex(left: u8, after_d: bool, byte: u8) -> Option<State> {
    if !byte.is_ascii_hexdigit() || (after_d && !(b'0'..=b'7').contains(&byte)) {
        return None;
    }
    let after_d = left == 4 && byte.eq_ignore_ascii_case(&b'd');
    Some(if left == 1 { State::Plain } else { State::Hex { left: left - 1, after_d } })
}
